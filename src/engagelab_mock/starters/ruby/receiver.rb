# A safe receiver of EngageLab's callbacks: Ruby 3.0 or newer, and `gem install webrick` where it is missing.
# Its guide is docs/howto/ruby.md of engagelab-mock.
require "digest"
require "json"
require "openssl"
require "webrick"

USERNAME = ENV.fetch("ENGAGELAB_WEBHOOK_USERNAME", "")
SECRET = ENV.fetch("ENGAGELAB_WEBHOOK_SECRET", "")
abort "set ENGAGELAB_WEBHOOK_USERNAME and ENGAGELAB_WEBHOOK_SECRET" if USERNAME.empty? || SECRET.empty?

# --- Receive
# Return the status to answer with. `signatures` are the values of X-CALLBACK-ID, `body` has the raw bytes.
def receive(signatures, body)
  return 200 if body.empty? || body == "{}" # the address validation, unsigned in EngageLab's document
  return 401 unless signatures.size == 1 && genuine?(signatures[0])

  rows = rows_of(body)
  return 400 if rows.nil?

  store(signatures[0], Digest::SHA256.hexdigest(body), rows) ? 200 : 401
end

# --- Signature
def genuine?(header)
  parts = header.split(";").to_h { |part| part.strip.split("=", 2).then { |name, value| [name, value.to_s] } }
  timestamp = parts.fetch("timestamp", "")
  return false unless timestamp.match?(/\A[0-9]{1,12}\z/) && (Time.now.to_i - timestamp.to_i).abs <= 300

  signed = "#{timestamp}#{parts['nonce']}#{USERNAME}"
  expected = OpenSSL::HMAC.hexdigest("SHA256", SECRET, signed)
  given = parts.fetch("signature", "")
  same = given.bytesize == expected.bytesize && OpenSSL.fixed_length_secure_compare(given, expected) # constant time
  same && parts["username"] == USERNAME
end

# --- Body
# Return the rows of a body, or nil if it has none. Ruby's integers keep all digits of an id.
def rows_of(body)
  value = JSON.parse(body)
  rows = value["rows"] if value.is_a?(Hash)
  rows if rows.is_a?(Array)
rescue JSON::ParserError, EncodingError
  nil
end

# --- Status
# A status only replaces one of lower rank: neither the order of arrival nor a second delivery matters.
RANK = %w[
  plan target_valid target_invalid sent_failed sent delivered_failed delivered verified_timeout verified_failed verified
].each_with_index.to_h.freeze

# Keep the status of a row. Ignore a row of another kind, or with a status that is not known.
def keep(row)
  id = row["message_id"] if row.is_a?(Hash)
  section = row["status"] if row.is_a?(Hash)
  status = section["message_status"] if section.is_a?(Hash)
  status = "sent_failed" if status == "sent_fail" # how newer documents spell it
  return unless (id.is_a?(String) || id.is_a?(Integer)) && RANK.key?(status)

  message = MESSAGES[id.to_s] ||= { "status" => nil, "credits" => 0 }
  return if RANK[status] <= RANK.fetch(message["status"], -1)

  message["status"] = status
  message["credits"] += 1 if status == "verified" # a status is only raised to `verified` once
end

# --- Store
# Each callback is one line of this file, on the disk before it is acknowledged. A start reads the file again.
# In your app, use two tables of your database, and one transaction for each callback.
FILE = ENV.fetch("CALLBACKS_FILE", "callbacks.jsonl")
MESSAGES = {}
SEEN = {}
LOCK = Mutex.new

# Store a callback, all of it or nothing. Tell whether its signature had no other body before.
def store(header, digest, rows)
  LOCK.synchronize do
    # EngageLab does not sign the body: a genuine signature only counts with the body that it came with first.
    return false if SEEN.key?(header) && SEEN[header]["digest"] != digest

    callback = { "at" => Time.now.to_i, "header" => header, "digest" => digest, "rows" => rows }
    LOG.write("\n#{JSON.generate(callback)}") # a line that was cut ends before it
    LOG.fsync
    apply(callback)
    true
  end
end

def apply(callback)
  SEEN.delete_if { |_, known| known["at"] < Time.now.to_i - 600 } # too old to pass by now
  SEEN[callback["header"]] = callback.slice("at", "digest")
  callback["rows"].each { |row| keep(row) }
end

if File.exist?(FILE)
  File.foreach(FILE) do |line|
    apply(JSON.parse(line))
  rescue JSON::ParserError
    next # the end of the process has cut the line: that callback was not acknowledged
  end
end
LOG = File.open(FILE, "a")

# --- Serve
class Receiver < WEBrick::HTTPServlet::AbstractServlet
  def do_POST(request, response)
    return response.status = 404 unless request.path == "/engagelab"

    body = request.body.to_s # the raw bytes
    return response.status = 413 if body.bytesize > 2**21

    response.status = receive(request.header.fetch("x-callback-id", []), body)
  end

  # Show the state of a message to the checks. Not for production.
  def do_GET(request, response)
    return response.status = 404 unless ENV["SHOW_STATE"] && request.path.start_with?("/messages/")

    response.body = LOCK.synchronize { JSON.generate(MESSAGES[request.path.delete_prefix("/messages/")]) }
  end
end

port = Integer(ENV.fetch("PORT", "8080"))
log = WEBrick::Log.new($stderr, WEBrick::Log::WARN)
at_once = ->(socket) { socket.setsockopt(Socket::IPPROTO_TCP, Socket::TCP_NODELAY, 1) }
server = WEBrick::HTTPServer.new(
  BindAddress: "127.0.0.1", Port: port, Logger: log, AccessLog: [], AcceptCallback: at_once
)
server.mount("/", Receiver)
%w[INT TERM].each { |name| trap(name) { server.shutdown } }
puts "http://127.0.0.1:#{port}/engagelab"
$stdout.flush
server.start
