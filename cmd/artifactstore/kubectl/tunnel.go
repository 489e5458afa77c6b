package kubectl

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"sync"
	"time"
)

// Service of a cluster, and the number or name of one of its ports.
type Service struct{ Namespace, Name, Port string }

// ServiceOf reads the name that a Service has inside its cluster, as
// artifact-store.default.svc or artifact-store.default.svc.cluster.local.
func ServiceOf(host, port string) (Service, bool) {
	parts := strings.Split(strings.ToLower(host), ".")
	if len(parts) < 3 || parts[2] != "svc" || parts[0] == "" || parts[1] == "" {
		return Service{}, false
	}
	return Service{Namespace: parts[1], Name: parts[0], Port: port}, true
}

// startTimeout bounds the time until kubectl forwards.
const startTimeout = time.Minute

// Tunnel is a kubectl port-forward that is started when it is first used. All
// methods may be called concurrently.
type Tunnel struct {
	cluster Cluster
	service Service

	start   sync.Once
	address string // of this machine
	err     error
	mu      sync.Mutex
	stop    func() // nil unless it runs
	closed  bool
}

// Tunnel returns one to the service. Close ends it.
func (c Cluster) Tunnel(service Service) *Tunnel { return &Tunnel{cluster: c, service: service} }

// Dial connects to the service, whatever the address.
func (t *Tunnel) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	t.start.Do(func() { t.address, t.err = t.forward() })
	if t.err != nil {
		return nil, t.err
	}
	return new(net.Dialer).DialContext(ctx, "tcp", t.address)
}

// Close ends kubectl.
func (t *Tunnel) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	if t.stop != nil {
		t.stop()
		t.stop = nil
	}
}

// forwarding is the line that kubectl prints for each address that it listens on.
var forwarding = regexp.MustCompile(`^Forwarding from (127\.0\.0\.1:[0-9]+) `)

// forward starts kubectl on a port of its choice and returns the address.
func (t *Tunnel) forward() (string, error) {
	what := fmt.Sprintf("kubectl port-forward service/%s", t.service.Name)
	ctx, cancel := context.WithCancel(context.Background())
	command := t.cluster.command(ctx, "port-forward", "--namespace="+t.service.Namespace, "--address=127.0.0.1", "service/"+t.service.Name, ":"+t.service.Port)
	detach(command)
	command.WaitDelay = time.Second
	stdout, err := command.StdoutPipe()
	if err != nil {
		cancel()
		return "", err
	}
	var stderr said
	command.Stderr = &stderr
	if err := command.Start(); err != nil {
		cancel()
		return "", failure(what, err, "")
	}
	found := make(chan string, 1)
	ended := make(chan error, 1)
	go func() {
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			if match := forwarding.FindStringSubmatch(lines.Text()); match != nil && len(found) == 0 {
				found <- match[1]
			}
		}
		io.Copy(io.Discard, stdout) //nolint:errcheck // a line that is too long ends the scan; it must still be read
		ended <- command.Wait()
	}()
	stop := func() { cancel(); <-ended }
	timer := time.NewTimer(startTimeout)
	defer timer.Stop()
	select {
	case address := <-found:
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.closed {
			stop()
			return "", net.ErrClosed
		}
		t.stop = stop
		return address, nil
	case err := <-ended:
		cancel()
		if err == nil {
			err = errors.New("it ended")
		}
		return "", failure(what, err, stderr.String())
	case <-timer.C:
		stop()
		return "", fmt.Errorf("%s: it does not forward after %s: %s", what, startTimeout, stderr.String())
	}
}

// said is the beginning of what a program says.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	const most = 4 << 10
	s.text.Write(p[:min(len(p), most-min(most, s.text.Len()))])
	return len(p), nil
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}
