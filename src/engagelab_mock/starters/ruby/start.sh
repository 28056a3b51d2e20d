exec ruby receiver.rb
