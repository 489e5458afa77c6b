package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestIdleConnectionsLockNobodyOut: many that were refused, and many that say
// nothing. Near the limit a refusal ends its connection, before not.
func TestIdleConnectionsLockNobodyOut(t *testing.T) { // not parallel: see above
	tokens := filepath.Join(t.TempDir(), "tokens.yaml")
	if err := os.WriteFile(tokens, []byte("tokens:\n- {name: a, token: 0123456789abcdef, allow: [{resource: \"*\", verbs: [\"*\"]}]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const most = 20
	url, _, stop := start(t, "--max-connections", fmt.Sprint(most), "--token-file", tokens)
	closed := 0
	for i := range 3 * most {
		connection, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer connection.Close() //nolint:errcheck // a test's
		if i >= 2*most {
			continue // it says nothing
		}
		if err := connection.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(connection, "GET /v1/packages HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		answer, err := http.ReadResponse(bufio.NewReader(connection), nil)
		if err != nil || answer.StatusCode != http.StatusUnauthorized {
			t.Fatalf("connection %d: %v, %v", i, answer, err)
		}
		if answer.Close {
			closed++
		}
		if answer.Close && i < most/2 {
			t.Errorf("the %dth refusal ends its connection", i)
		}
	}
	if closed == 0 {
		t.Error("near the limit no refusal ended its connection")
	}
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for range 3 {
		answer, err := client.Get(url + "/livez")
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestAnswersLockNobodyOut: neither clients without a token that read no answer take
// all connections, nor the requests of one holder.
func TestAnswersLockNobodyOut(t *testing.T) { // not parallel: see above
	tokens := filepath.Join(t.TempDir(), "tokens.yaml")
	const allow = ", allow: [{resource: \"*\", verbs: [\"*\"]}]}\n"
	if err := os.WriteFile(tokens, []byte("tokens:\n- {name: a, token: 0123456789abcdef"+allow+"- {name: b, token: fedcba9876543210"+allow), 0o600); err != nil {
		t.Fatal(err)
	}
	const most = 20
	url, _, stop := start(t, "--max-connections", fmt.Sprint(most), "--token-file", tokens)
	var open []net.Conn
	ask := func(what string) net.Conn {
		t.Helper()
		connection, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { connection.Close() }) //nolint:errcheck // a test's
		open = append(open, connection)
		if err := connection.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(connection, what); err != nil {
			t.Fatal(err)
		}
		return connection
	}
	status := func(connection net.Conn) int {
		t.Helper()
		answer, err := http.ReadResponse(bufio.NewReader(connection), nil)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode
	}
	for range most { // more than the kernel holds for a client that reads nothing
		ask(strings.Repeat("GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 300))
	}
	time.Sleep(time.Second) // they have what the kernel takes
	const follow = "GET /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\nAuthorization: Bearer "
	refused := 0
	for i := range most {
		switch got := status(ask(follow + "0123456789abcdef\r\n\r\n")); {
		case got == http.StatusTooManyRequests:
			refused++
		case got != http.StatusOK:
			t.Errorf("stream %d of one holder: %d", i, got)
		}
	}
	if refused != most/4 {
		t.Errorf("%d of %d requests at once of one holder were refused, want a quarter", refused, most)
	}
	if got := status(ask(follow + "fedcba9876543210\r\n\r\n")); got != http.StatusOK {
		t.Errorf("another holder: %d", got)
	}
	for _, connection := range open {
		connection.Close() //nolint:errcheck // a test's
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
