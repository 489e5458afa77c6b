package faultproxy

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	maxHead    = 64 << 10
	stallPause = 4 * time.Second
)

// serveHTTP passes on one request after another, each on a connection of its
// own to the server.
func (l *link) serveHTTP() {
	from := bufio.NewReaderSize(l.client, 64<<10)
	for l.exchange(from) {
	}
	l.client.Close()
}

// readHead reads a request's line and headers and leaves its body. The bytes
// are as they came.
func readHead(from *bufio.Reader) ([]byte, *http.Request, error) {
	var head bytes.Buffer
	for !bytes.HasSuffix(head.Bytes(), []byte("\r\n\r\n")) {
		line, err := from.ReadSlice('\n')
		if err != nil {
			return nil, nil, err
		}
		if head.Write(line); head.Len() > maxHead {
			return nil, nil, errors.New("the request's head is too long")
		}
	}
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head.Bytes())))
	if err == nil && r.ContentLength < 0 {
		err = errors.New("a request without Content-Length")
	}
	return head.Bytes(), r, err
}

// exchange passes on one request and its answer, and says whether the
// connection can take another one.
func (l *link) exchange(from *bufio.Reader) (again bool) {
	head, r, err := readHead(from)
	if err != nil {
		return false
	}
	seen := &Exchange{Kind: KindOf(r), Path: r.URL.Path, Part: partOf(r)}
	fault := l.p.begin(seen)
	body := io.LimitReader(from, r.ContentLength)
	if fault.at(BeforeRequest) {
		fault.hit()
		if fault.Action != Answer {
			return l.act(fault, from, nil)
		}
		if _, err := io.Copy(io.Discard, body); err != nil {
			return false
		}
		return l.answer(fault, seen, r) == nil
	}
	server, err := l.dial()
	if err != nil {
		return false
	}
	defer server.Close()
	if fault.at(InRequest) {
		body = &stream{ctx: l.ctx, from: body, strike: fault}
	}
	sent := make(chan error, 1)
	go func() {
		_, err := server.Write(head)
		if err == nil {
			_, err = io.Copy(server, body)
		}
		sent <- err
	}()
	got := make(chan *http.Response, 1)
	go func() { got <- l.readAnswer(server, r) }()

	var answer *http.Response
	waiting, whole := sent, false
	for answer == nil {
		select {
		case err := <-waiting:
			waiting, whole = nil, err == nil
			if errors.Is(err, errStruck) {
				if fault.Action == Answer {
					l.answer(fault, seen, r) //nolint:errcheck // the client is gone
				}
				return l.act(fault, from, server)
			}
		case answer = <-got:
			if answer == nil {
				return false
			}
		}
	}
	if fault.at(BeforeAnswer) {
		if waiting != nil {
			whole = <-sent == nil
		}
		fault.hit()
		if fault.Action != Answer {
			return l.act(fault, from, server)
		}
		return l.answer(fault, seen, r) == nil && whole
	}
	if fault.at(InAnswer) && answer.Body != http.NoBody && r.Method != http.MethodHead {
		answer.Body = io.NopCloser(&stream{ctx: l.ctx, from: answer.Body, strike: fault})
	}
	l.p.answered(seen, answer.StatusCode)
	if err := answer.Write(l.client); err != nil {
		if errors.Is(err, errStruck) {
			return l.act(fault, from, server)
		}
		return false
	}
	if waiting != nil {
		// It answered before all was sent, if only by a moment: how that went
		// is seen now, and what the client makes of it is the client's.
		server.Close()
		whole = <-sent == nil
	}
	if !whole || answer.Close {
		l.hangUp(from)
		return false
	}
	return true
}

// readAnswer returns nil if none came.
func (l *link) readAnswer(server *net.TCPConn, r *http.Request) *http.Response {
	from := bufio.NewReaderSize(server, 64<<10)
	for {
		answer, err := http.ReadResponse(from, r)
		if err != nil {
			return nil
		}
		if answer.StatusCode != http.StatusContinue {
			return answer
		}
		io.WriteString(l.client, "HTTP/1.1 100 Continue\r\n\r\n") //nolint:errcheck // the client is gone
	}
}

// act does what ends an exchange.
func (l *link) act(fault *strike, from io.Reader, server *net.TCPConn) (again bool) {
	switch fault.Action {
	case Reset:
		reset(l.client, server)
	case Stall:
		l.stall(fault.Fault, from)
	default:
		if server != nil {
			server.CloseWrite() //nolint:errcheck // it is gone
		}
		l.hangUp(from)
	}
	return false
}

// stall lasts until the client has gone.
func (l *link) stall(fault Fault, from io.Reader) {
	if fault.Pause == 0 {
		fault.Pause = stallPause
	}
	select {
	case <-l.ctx.Done():
	case <-time.After(fault.Pause):
		io.Copy(io.Discard, from) //nolint:errcheck // ends with the client
	}
}

// hangUp sends FIN and takes what still comes until the client goes too:
// closing at once would make it an RST.
func (l *link) hangUp(from io.Reader) {
	l.client.CloseWrite()     //nolint:errcheck // it is gone
	io.Copy(io.Discard, from) //nolint:errcheck // ends with the client
}

// answer says what the fault has the server say.
func (l *link) answer(fault *strike, seen *Exchange, r *http.Request) error {
	kind, body := "text/html", fault.Page
	if fault.Code != "" {
		kind, body = "application/xml", fmt.Sprintf("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>%s</Code><Message></Message></Error>", fault.Code)
	}
	answer := &http.Response{
		StatusCode: fault.Status, ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header:        http.Header{"Content-Type": {kind}},
		Body:          io.NopCloser(strings.NewReader(body)),
		ContentLength: int64(len(body)),
		Close:         fault.Where == InRequest,
	}
	if fault.RetryAfter > 0 {
		answer.Header.Set("Retry-After", strconv.Itoa(int(fault.RetryAfter.Seconds())))
	}
	l.p.answered(seen, fault.Status)
	return answer.Write(l.client)
}
