go build -o receiver receiver.go
exec ./receiver
