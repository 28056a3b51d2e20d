// A safe receiver of EngageLab's callbacks: Go 1.19 or newer, the standard library alone.
// Its guide is docs/howto/go.md of engagelab-mock.
package main

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

var username, secret = os.Getenv("ENGAGELAB_WEBHOOK_USERNAME"), os.Getenv("ENGAGELAB_WEBHOOK_SECRET")

// --- Receive

// receive returns the status to answer with; body has the raw bytes.
func receive(signatures []string, body []byte) int {
	if len(body) == 0 || string(body) == "{}" {
		return 200 // the address validation, unsigned in EngageLab's document
	}
	if len(signatures) != 1 || !isGenuine(signatures[0]) {
		return 401
	}
	var envelope struct {
		Rows []json.RawMessage `json:"rows"`
	}
	if json.Unmarshal(body, &envelope) != nil || envelope.Rows == nil {
		return 400
	}
	first, err := store(callback{time.Now().Unix(), signatures[0], digestOf(body), envelope.Rows})
	if err != nil {
		log.Print(err)
		return 500 // not stored, so EngageLab sends it again
	}
	if !first {
		return 401
	}
	return 200
}

func digestOf(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// --- Signature

func isGenuine(header string) bool {
	parts := map[string]string{}
	for _, part := range strings.Split(header, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		parts[name] = value
	}
	timestamp, err := strconv.ParseUint(parts["timestamp"], 10, 40)
	age := time.Now().Unix() - int64(timestamp)
	if err != nil || age > 300 || age < -300 {
		return false
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(parts["timestamp"] + parts["nonce"] + username))
	expected := hex.EncodeToString(mac.Sum(nil))
	same := hmac.Equal([]byte(expected), []byte(parts["signature"])) // in constant time
	return same && parts["username"] == username
}

// --- Body

// parse returns the message's id and the status of a row, or "" for both if the row is of another kind.
func parse(raw json.RawMessage) (string, string) {
	var row struct {
		ID     any `json:"message_id"`
		Status struct {
			Name string `json:"message_status"`
		} `json:"status"`
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber() // an id has 19 digits, and a float64 keeps 15 of them
	if decoder.Decode(&row) != nil {
		return "", ""
	}
	switch id := row.ID.(type) {
	case string:
		return id, row.Status.Name
	case json.Number:
		return id.String(), row.Status.Name
	}
	return "", ""
}

// --- Status

// A status only replaces one of lower rank: neither the order of arrival nor a second delivery matters.
var rank = map[string]int{
	"plan": 1, "target_valid": 2, "target_invalid": 3, "sent_failed": 4, "sent": 5, "delivered_failed": 6,
	"delivered": 7, "verified_timeout": 8, "verified_failed": 9, "verified": 10,
}

type message struct {
	Status  string `json:"status"`
	Credits int    `json:"credits"`
}

// keep keeps the status of a row. It ignores a row of another kind, or with a status that is not known.
func keep(row json.RawMessage) {
	id, status := parse(row)
	if status == "sent_fail" {
		status = "sent_failed" // how newer documents spell it
	}
	known := messages[id]
	if rank[status] <= rank[known.Status] {
		return
	}
	known.Status = status
	if status == "verified" { // a status is only raised to verified once
		known.Credits++
	}
	messages[id] = known
}

// --- Store

// Each callback is one line of this file, on the disk before it is acknowledged. A start reads the file again.
// In your app, use two tables of your database, and one transaction for each callback.
var file *os.File

type callback struct {
	At     int64             `json:"at"`
	Header string            `json:"header"`
	Digest string            `json:"digest"`
	Rows   []json.RawMessage `json:"rows"`
}

var (
	lock     sync.Mutex
	messages = map[string]message{}
	seen     = map[string]callback{}
)

// store stores a callback, all of it or nothing. It tells whether the signature had no other body before.
func store(arrived callback) (bool, error) {
	lock.Lock()
	defer lock.Unlock()
	// EngageLab does not sign the body: a genuine signature only counts with the body that it came with first.
	if known, used := seen[arrived.Header]; used && known.Digest != arrived.Digest {
		return false, nil
	}
	line, err := json.Marshal(arrived)
	if err != nil {
		return false, err
	}
	if _, err = file.Write(append([]byte("\n"), line...)); err != nil { // a line that was cut ends before it
		return false, err
	}
	if err = file.Sync(); err != nil {
		return false, err
	}
	apply(arrived)
	return true, nil
}

func apply(arrived callback) {
	for header, known := range seen {
		if known.At < time.Now().Unix()-600 {
			delete(seen, header) // too old to pass by now
		}
	}
	seen[arrived.Header] = callback{At: arrived.At, Digest: arrived.Digest}
	for _, row := range arrived.Rows {
		keep(row)
	}
}

func open(name string) (err error) {
	if file, err = os.OpenFile(name, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600); err != nil {
		return err
	}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var each callback
		if json.Unmarshal(lines.Bytes(), &each) == nil { // else the end of the process has cut the line
			apply(each)
		}
	}
	return lines.Err()
}

// --- Serve

func main() {
	if username == "" || secret == "" {
		log.Fatal("set ENGAGELAB_WEBHOOK_USERNAME and ENGAGELAB_WEBHOOK_SECRET")
	}
	if err := open(setting("CALLBACKS_FILE", "callbacks.jsonl")); err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/engagelab", func(response http.ResponseWriter, request *http.Request) {
		if request.Method != http.MethodPost {
			response.WriteHeader(405)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(response, request.Body, 2<<20))
		if err != nil {
			response.WriteHeader(413) // or the connection broke, and no one reads the answer
			return
		}
		response.WriteHeader(receive(request.Header.Values("X-CALLBACK-ID"), body))
	})
	if os.Getenv("SHOW_STATE") != "" { // for the checks, not for production
		http.HandleFunc("/messages/", func(response http.ResponseWriter, request *http.Request) {
			lock.Lock()
			defer lock.Unlock()
			if known, ok := messages[strings.TrimPrefix(request.URL.Path, "/messages/")]; ok {
				_ = json.NewEncoder(response).Encode(known)
			} else {
				fmt.Fprint(response, "null")
			}
		})
	}
	address := "127.0.0.1:" + setting("PORT", "8080")
	fmt.Printf("http://%s/engagelab\n", address)
	server := &http.Server{Addr: address, ReadTimeout: 10 * time.Second}
	log.Fatal(server.ListenAndServe())
}

func setting(name, fallback string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return fallback
}
