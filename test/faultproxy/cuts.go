package faultproxy

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync"
	"testing"
)

// Cutter is a proxy of bytes that resets a connection each time that a number of bytes
// has passed in one direction, over all connections together.
type Cutter struct {
	// URL is what to use instead of the server's endpoint.
	URL string

	proxy *Proxy
	mu    sync.Mutex
	where Where
	at    []int64
	count map[Where]int64
	cuts  int
}

// Cutting returns a Cutter before the server at endpoint, http(s)://host:port, which cuts nothing yet.
func Cutting(tb testing.TB, endpoint string) *Cutter {
	tb.Helper()
	c := &Cutter{count: map[Where]int64{}}
	c.proxy = start(tb, endpoint, func(l *link) { l.serveCuts(c) })
	c.URL = c.proxy.URL
	return c
}

// Arm counts anew, and cuts at each of these numbers of bytes in that direction.
func (c *Cutter) Arm(where Where, at ...int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.where, c.at, c.cuts = where, slices.Sorted(slices.Values(at)), 0
	clear(c.count)
}

// Passed returns how many bytes came from one side since Arm.
func (c *Cutter) Passed(where Where) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count[where]
}

// Cuts returns how many connections were cut since Arm.
func (c *Cutter) Cuts() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cuts
}

// passes counts bytes, and returns how many of them come before the next cut.
func (c *Cutter) passes(where Where, n int) (before int, cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.count[where]
	c.count[where] += int64(n)
	if where != c.where || len(c.at) == 0 || c.count[where] < c.at[0] {
		return n, false
	}
	before = int(max(0, c.at[0]-was))
	for len(c.at) > 0 && c.at[0] <= c.count[where] { // cuts that are closer together are one
		c.at = c.at[1:]
		c.cuts++
	}
	return before, true
}

// serveCuts passes bytes on in both directions.
func (l *link) serveCuts(c *Cutter) {
	server, err := l.dial()
	if err != nil {
		l.client.Close()
		return
	}
	// Little is on its way when a connection is cut, as on a line.
	server.SetReadBuffer(64 << 10)    //nolint:errcheck // a wish
	server.SetWriteBuffer(64 << 10)   //nolint:errcheck // a wish
	l.client.SetWriteBuffer(64 << 10) //nolint:errcheck // a wish
	relay := func(to, from *net.TCPConn, where Where) {
		buf := make([]byte, 32<<10)
		for {
			n, err := from.Read(buf)
			before, cut := c.passes(where, n)
			if _, failed := to.Write(buf[:before]); failed != nil && err == nil {
				err = failed
			}
			switch {
			case cut:
				reset(l.client)
				server.Close() //nolint:errcheck // what was written before arrives
				return
			case err == io.EOF:
				to.CloseWrite() //nolint:errcheck // it is gone
				return
			case err != nil:
				l.client.Close()
				server.Close()
				return
			}
		}
	}
	var both sync.WaitGroup
	both.Go(func() { relay(server, l.client, InRequest) })
	both.Go(func() { relay(l.client, server, InAnswer) })
	both.Wait()
	l.client.Close()
	server.Close()
}

// Limiting is a proxy that answers 413 and a page to a body of more than limit bytes, as
// nginx does with client_max_body_size. Bodies of unknown length it reads first.
func Limiting(tb testing.TB, endpoint string, limit int64, refused func()) http.Handler {
	tb.Helper()
	way, err := url.Parse(endpoint)
	if err != nil {
		tb.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(way)
	proxy.ErrorLog = nil
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tooLarge := r.ContentLength > limit
		if r.ContentLength < 0 {
			body, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
			if err != nil {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			if tooLarge = int64(len(body)) > limit; !tooLarge {
				r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
				r.TransferEncoding = nil
			}
		}
		if !tooLarge {
			proxy.ServeHTTP(w, r)
			return
		}
		refused()
		control := http.NewResponseController(w)
		control.EnableFullDuplex() //nolint:errcheck // HTTP/1 has it
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		io.WriteString(w, "<html>413 Request Entity Too Large</html>") //nolint:errcheck // the client is gone
		control.Flush()                                                //nolint:errcheck // the client is gone
		if r.ContentLength < 0 {
			// As nginx does: who still sends when the connection is closed does not see the answer.
			io.Copy(io.Discard, r.Body) //nolint:errcheck // the client is gone
		}
	})
}
