// A receiver on Go's own HTTP server: correct, or with one of the usual mistakes. It prints its port.
//
//	go run receiver.go correct | last | twice | racing
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

type order struct {
	Status  string `json:"status"`
	Credits int    `json:"credits"`
}

type callback struct {
	Rows []struct {
		MessageID json.Number `json:"message_id"`
		Status    *struct {
			MessageStatus string `json:"message_status"`
		} `json:"status"`
	} `json:"rows"`
}

var (
	mode   = "correct"
	lock   sync.Mutex
	orders = map[string]*order{}
	seen   = map[string]bool{}
	rank   = map[string]int{"plan": 1, "target_valid": 2, "target_invalid": 3, "sent_failed": 4, "sent": 5,
		"delivered_failed": 6, "delivered": 7, "verified_timeout": 8, "verified_failed": 9, "verified": 10}
)

// As a query of a database: other requests run meanwhile.
func query() { time.Sleep(time.Millisecond) }

func look(key string) bool {
	lock.Lock()
	defer lock.Unlock()
	return seen[key]
}

func apply(id, status string) {
	key := id + " " + status
	if mode == "racing" {
		known := look(key)
		query()
		if known {
			return
		}
	}
	lock.Lock()
	defer lock.Unlock()
	if orders[id] == nil {
		orders[id] = &order{}
	}
	if mode == "last" || rank[status] > rank[orders[id].Status] {
		orders[id].Status = status
	}
	if status == "verified" && (mode == "twice" || mode == "racing" || !seen[key]) {
		orders[id].Credits++
	}
	seen[key] = true
}

func receive(response http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if text := strings.TrimSpace(string(body)); err == nil && text != "" && text != "{}" {
		var given callback
		if err = json.Unmarshal(body, &given); err == nil {
			for _, row := range given.Rows {
				if row.Status != nil {
					apply(row.MessageID.String(), row.Status.MessageStatus)
				}
			}
		}
	}
	if err != nil {
		http.Error(response, err.Error(), http.StatusBadRequest)
	}
}

func state(response http.ResponseWriter, request *http.Request) {
	lock.Lock()
	defer lock.Unlock()
	response.Header().Set("Content-Type", "application/json")
	json.NewEncoder(response).Encode(orders[strings.TrimPrefix(request.URL.Path, "/state/")])
}

func reset(response http.ResponseWriter, request *http.Request) {
	lock.Lock()
	defer lock.Unlock()
	orders, seen = map[string]*order{}, map[string]bool{}
}

func main() {
	if len(os.Args) > 1 {
		mode = os.Args[1]
	}
	http.HandleFunc("/engagelab", receive)
	http.HandleFunc("/state/", state)
	http.HandleFunc("/reset", reset)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	http.Serve(listener, nil)
}
