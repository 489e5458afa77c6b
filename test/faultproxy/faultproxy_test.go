package faultproxy_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/test/faultproxy"
)

const size = 300 << 10

var data = bytes.Repeat([]byte("0123456789abcdef"), size/16)

// origin answers a PUT with the body's hash and a GET with data, and remembers.
type origin struct {
	*httptest.Server
	mu   sync.Mutex
	seen []string // hashes of bodies that came whole
	host string
}

func newOrigin(t *testing.T) *origin {
	o := &origin{}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		sum := sha256.Sum256(body)
		o.mu.Lock()
		o.seen, o.host = append(o.seen, hex.EncodeToString(sum[:])), r.Host
		o.mu.Unlock()
		if r.Method == http.MethodPut {
			fmt.Fprintf(w, "%x", sum)
			return
		}
		w.Write(data)
	}))
	t.Cleanup(o.Close)
	return o
}

func (o *origin) got() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string(nil), o.seen...)
}

// outcome is what a client sees of one exchange.
func outcome(t *testing.T, client *http.Client, method, address string) (status int, body []byte, err error) {
	t.Helper()
	var sends io.Reader
	if method == http.MethodPut {
		sends = bytes.NewReader(data)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, address, sends)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	body, err = io.ReadAll(answer.Body)
	return answer.StatusCode, body, err
}

func sumOf(data []byte) string { return fmt.Sprintf("%x", sha256.Sum256(data)) }

func flipped(at int) []byte {
	turned := bytes.Clone(data)
	turned[at] ^= 4
	return turned
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// isReset: http.Transport may read the RST first, close its end and tell of that.
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed)
}

func isEnd(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, net.ErrClosed) || err != nil && strings.Contains(err.Error(), "server closed")
}

// TestHTTP: every action at every moment does what it says, once, to the
// request that was meant, and leaves nothing open.
func TestHTTP(t *testing.T) {
	t.Parallel()
	const after = 100_000
	type want struct {
		err    func(error) bool // nil: none
		status int
		body   []byte
		server []string // what the server has got of the request
	}
	whole, damaged := []string{sumOf(data)}, []string{sumOf(flipped(after))}
	ok := func(server []string) want { return want{status: 200, body: []byte(server[0]), server: server} }
	for _, test := range []struct {
		method string
		fault  faultproxy.Fault
		want   want
	}{
		{"PUT", faultproxy.Fault{Where: faultproxy.BeforeRequest, Action: faultproxy.Reset}, want{err: isReset}},
		{"PUT", faultproxy.Fault{Where: faultproxy.BeforeRequest, Action: faultproxy.Truncate}, want{err: isEnd}},
		{"PUT", faultproxy.Fault{Where: faultproxy.BeforeRequest, Action: faultproxy.Stall}, want{err: isTimeout}},
		{"PUT", faultproxy.Fault{Where: faultproxy.BeforeRequest, Action: faultproxy.Answer, Status: 503}, want{status: 503}},
		{"PUT", faultproxy.Fault{Where: faultproxy.InRequest, After: after, Action: faultproxy.Reset}, want{err: isReset}},
		{"PUT", faultproxy.Fault{Where: faultproxy.InRequest, After: after, Action: faultproxy.Truncate}, want{err: isEnd}},
		{"PUT", faultproxy.Fault{Where: faultproxy.InRequest, After: after, Action: faultproxy.Stall}, want{err: isTimeout}},
		{"PUT", faultproxy.Fault{Where: faultproxy.InRequest, After: after, Action: faultproxy.Corrupt}, ok(damaged)},
		{"PUT", faultproxy.Fault{Where: faultproxy.InRequest, After: after, Action: faultproxy.Answer, Status: 403}, want{status: 403}},
		{"PUT", faultproxy.Fault{Where: faultproxy.InRequest, After: after, Action: faultproxy.Drip, Piece: 64 << 10, Pause: time.Millisecond}, ok(whole)},
		{"PUT", faultproxy.Fault{Where: faultproxy.BeforeAnswer, Action: faultproxy.Reset}, want{err: isReset, server: whole}},
		{"PUT", faultproxy.Fault{Where: faultproxy.BeforeAnswer, Action: faultproxy.Truncate}, want{err: isEnd, server: whole}},
		{"PUT", faultproxy.Fault{Where: faultproxy.BeforeAnswer, Action: faultproxy.Stall}, want{err: isTimeout, server: whole}},
		{"PUT", faultproxy.Fault{Where: faultproxy.BeforeAnswer, Action: faultproxy.Answer, Status: 500}, want{status: 500, server: whole}},
		{"GET", faultproxy.Fault{Where: faultproxy.InAnswer, After: after, Action: faultproxy.Reset}, want{err: isReset, status: 200}},
		{"GET", faultproxy.Fault{Where: faultproxy.InAnswer, After: after, Action: faultproxy.Truncate}, want{err: isEnd, status: 200, body: data[:after]}},
		{"GET", faultproxy.Fault{Where: faultproxy.InAnswer, After: after, Action: faultproxy.Stall}, want{err: isTimeout, status: 200, body: data[:after]}},
		{"GET", faultproxy.Fault{Where: faultproxy.InAnswer, After: after, Action: faultproxy.Corrupt}, want{status: 200, body: flipped(after)}},
		{"GET", faultproxy.Fault{Where: faultproxy.InAnswer, After: after, Action: faultproxy.Drip, Piece: 64 << 10, Pause: time.Millisecond}, want{status: 200, body: data}},
	} {
		t.Run(fmt.Sprint(test.method, " ", test.fault.Action, " ", test.fault.Where), func(t *testing.T) {
			t.Parallel()
			o := newOrigin(t)
			p := faultproxy.HTTP(t, o.URL)
			transport := &http.Transport{}
			client := &http.Client{Transport: transport, Timeout: 5 * time.Second}
			if test.fault.Action == faultproxy.Stall {
				client.Timeout, test.fault.Pause = 300*time.Millisecond, 400*time.Millisecond
			}
			test.fault.Key, test.fault.Nth = "/chosen", 2
			p.Arm(test.fault)
			for _, path := range []string{"/bucket/another", "/bucket/chosen"} {
				if status, _, err := outcome(t, client, test.method, p.URL+path); err != nil || status != 200 {
					t.Fatalf("%s: %d, %v", path, status, err)
				}
			}
			if p.Struck() != 0 {
				t.Fatal("it struck before its time")
			}
			before := len(o.got())
			status, body, err := outcome(t, client, test.method, p.URL+"/bucket/chosen")
			if status != test.want.status || (err == nil) != (test.want.err == nil) || err != nil && !test.want.err(err) {
				t.Errorf("%d, %v", status, err)
			}
			if test.want.body != nil && !bytes.Equal(body, test.want.body) {
				t.Errorf("%d bytes, not those that were meant", len(body))
			}
			if server := o.got()[before:]; test.method == http.MethodPut && fmt.Sprint(server) != fmt.Sprint(test.want.server) {
				t.Errorf("the server got %v, want %v", server, test.want.server)
			}
			if p.Struck() != 1 {
				t.Errorf("struck %d times", p.Struck())
			}
			if status, _, err := outcome(t, client, test.method, p.URL+"/bucket/chosen"); err != nil || status != 200 {
				t.Errorf("afterwards: %d, %v", status, err)
			}
			if host := strings.TrimPrefix(p.URL, "http://"); o.host != host {
				t.Errorf("the server saw host %q, want that of the request, %q", o.host, host)
			}
			if seen := p.Exchanges(); len(seen) != 4 || !seen[2].Struck || seen[3].Struck || seen[3].Status != 200 {
				t.Errorf("exchanges: %+v", seen)
			}
			mustClose(t, p, transport)
		})
	}
}

func mustClose(t *testing.T, p *faultproxy.Proxy, transport *http.Transport) {
	t.Helper()
	transport.CloseIdleConnections()
	for range 400 {
		if p.Open() == 0 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Errorf("%d connections are open", p.Open())
}

// TestAnswer: headers and code are those of an S3 server; HEAD gets no body; and
// the connection goes on.
func TestAnswer(t *testing.T) {
	t.Parallel()
	p := faultproxy.HTTP(t, newOrigin(t).URL)
	p.Arm(faultproxy.Fault{Action: faultproxy.Answer, Where: faultproxy.BeforeRequest, Always: true, Status: 503, Code: "SlowDown", RetryAfter: 7 * time.Second})
	transport := &http.Transport{}
	for _, method := range []string{http.MethodHead, http.MethodPut, http.MethodGet} {
		r, err := http.NewRequestWithContext(t.Context(), method, p.URL+"/bucket/key", nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != 503 || answer.Header.Get("Retry-After") != "7" ||
			strings.Contains(string(body), "<Code>SlowDown</Code>") == (method == http.MethodHead) {
			t.Errorf("%s: %v %q %v", method, answer, body, err)
		}
	}
	if open := p.Open(); open != 1 || p.Struck() != 3 {
		t.Errorf("%d connections, struck %d times", open, p.Struck())
	}
	mustClose(t, p, transport)
}

// TestTCP does to bytes what TestHTTP does to requests.
func TestTCP(t *testing.T) {
	t.Parallel()
	const after = 100_000
	for _, test := range []struct {
		method string
		fault  faultproxy.Fault
		err    func(error) bool
	}{
		{"PUT", faultproxy.Fault{Where: faultproxy.InRequest, Action: faultproxy.Reset}, isReset},
		{"PUT", faultproxy.Fault{Where: faultproxy.InRequest, After: after, Action: faultproxy.Reset}, isReset},
		{"PUT", faultproxy.Fault{Where: faultproxy.InRequest, After: after, Action: faultproxy.Truncate}, isEnd},
		{"PUT", faultproxy.Fault{Where: faultproxy.InRequest, After: after, Action: faultproxy.Stall}, isTimeout},
		{"PUT", faultproxy.Fault{Where: faultproxy.InRequest, After: after, Action: faultproxy.Corrupt}, nil},
		{"PUT", faultproxy.Fault{Where: faultproxy.InRequest, After: after, Action: faultproxy.Drip, Piece: 4 << 10, Pause: time.Millisecond}, nil},
		{"GET", faultproxy.Fault{Where: faultproxy.InAnswer, After: after, Action: faultproxy.Reset}, isReset},
		{"GET", faultproxy.Fault{Where: faultproxy.InAnswer, After: after, Action: faultproxy.Truncate}, isEnd},
		{"GET", faultproxy.Fault{Where: faultproxy.InAnswer, After: after, Action: faultproxy.Stall}, isTimeout},
		{"GET", faultproxy.Fault{Where: faultproxy.InAnswer, After: after, Action: faultproxy.Corrupt}, nil},
		{"GET", faultproxy.Fault{Where: faultproxy.InAnswer, After: after, Action: faultproxy.Drip, Piece: 4 << 10, Pause: time.Millisecond}, nil},
	} {
		t.Run(fmt.Sprint(test.method, " ", test.fault.Action, " ", test.fault.After), func(t *testing.T) {
			t.Parallel()
			p := faultproxy.TCP(t, newOrigin(t).URL)
			transport := &http.Transport{}
			client := &http.Client{Transport: transport, Timeout: 5 * time.Second}
			if test.fault.Action == faultproxy.Stall {
				client.Timeout, test.fault.Pause = 300*time.Millisecond, 400*time.Millisecond
			}
			// A first request, so that the count is seen to begin at Arm.
			if _, _, err := outcome(t, client, test.method, p.URL+"/a/b"); err != nil {
				t.Fatal(err)
			}
			p.Arm(test.fault)
			_, body, err := outcome(t, client, test.method, p.URL+"/a/b")
			if (err == nil) != (test.err == nil) || err != nil && !test.err(err) {
				t.Errorf("%v", err)
			}
			right := data
			if test.method == http.MethodPut {
				right = []byte(sumOf(data))
			}
			if err == nil && bytes.Equal(body, right) == (test.fault.Action == faultproxy.Corrupt) {
				t.Errorf("%d bytes, not those that were meant", len(body))
			}
			if p.Struck() != 1 {
				t.Errorf("struck %d times", p.Struck())
			}
			p.Arm()
			if _, body, err := outcome(t, client, test.method, p.URL+"/a/b"); err != nil || !bytes.Equal(body, right) {
				t.Errorf("afterwards: %d bytes, %v", len(body), err)
			}
			mustClose(t, p, transport)
		})
	}
}

// TestKindOf: each request of the protocol is known by what it asks.
func TestKindOf(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		method, target string
		copies         bool
		want           faultproxy.Kind
	}{
		{"PUT", "/b/k?x-id=PutObject", false, faultproxy.PutObject},
		{"PUT", "/b/k?x-id=CopyObject", true, faultproxy.CopyObject},
		{"POST", "/b/k?uploads=", false, faultproxy.CreateMultipartUpload},
		{"PUT", "/b/k?partNumber=2&uploadId=u", false, faultproxy.UploadPart},
		{"PUT", "/b/k?partNumber=2&uploadId=u", true, faultproxy.UploadPartCopy},
		{"POST", "/b/k?uploadId=u", false, faultproxy.CompleteMultipartUpload},
		{"DELETE", "/b/k?uploadId=u", false, faultproxy.AbortMultipartUpload},
		{"GET", "/b/k?uploadId=u", false, faultproxy.ListParts},
		{"GET", "/b?uploads=&prefix=k", false, faultproxy.ListMultipartUploads},
		{"GET", "/b/k", false, faultproxy.GetObject},
		{"HEAD", "/b/k", false, faultproxy.HeadObject},
		{"DELETE", "/b/k", false, faultproxy.DeleteObject},
		{"GET", "/b/?list-type=2", false, faultproxy.ListObjects},
		{"PUT", "/b", false, faultproxy.Other},
	} {
		r := httptest.NewRequest(test.method, test.target, nil)
		if test.copies {
			r.Header.Set("X-Amz-Copy-Source", "b/other")
		}
		if got := faultproxy.KindOf(r); got != test.want {
			t.Errorf("%s %s: %s, want %s", test.method, test.target, got, test.want)
		}
	}
}
