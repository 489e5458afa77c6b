//go:build e2e

package cluster

import (
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/coulomb/artifact-store/test/servers"
)

// gate lets pods through to a server on this machine, and can be shut.
type gate struct {
	// address by which pods reach the server, host:port.
	address string

	network, target string
	mu              sync.Mutex
	shut            bool
	open            map[net.Conn]bool
}

// newGate opens a gate to the target ("tcp" or "unix") until the test ends.
func newGate(t *testing.T, network, target string) *gate {
	t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(setting(t, "E2E_LISTEN"), "0"))
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{address: net.JoinHostPort(setting(t, "E2E_HOST"), port), network: network, target: target, open: map[net.Conn]bool{}}
	go g.accept(listener)
	t.Cleanup(func() { listener.Close(); g.set(true) })
	// Where pods do not reach this machine by themselves, a command lets them through.
	if expose := strings.Fields(os.Getenv("E2E_EXPOSE")); len(expose) > 0 {
		if output, err := exec.Command(expose[0], append(expose[1:], port)...).CombinedOutput(); err != nil {
			t.Fatalf("%v %s: %v\n%s", expose, port, err, output)
		}
	}
	return g
}

func (g *gate) accept(listener net.Listener) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		go g.pass(client)
	}
}

func (g *gate) pass(client net.Conn) {
	defer client.Close()
	target, err := net.Dial(g.network, g.target)
	if err != nil {
		return
	}
	defer target.Close()
	g.mu.Lock()
	if g.shut {
		g.mu.Unlock()
		return
	}
	g.open[client], g.open[target] = true, true
	g.mu.Unlock()
	var passing sync.WaitGroup
	passing.Go(func() { io.Copy(target, client); target.Close() })
	passing.Go(func() { io.Copy(client, target); client.Close() })
	passing.Wait()
	g.mu.Lock()
	delete(g.open, client)
	delete(g.open, target)
	g.mu.Unlock()
}

// set shuts the gate, also for connections that are open, or opens it.
func (g *gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut = shut; shut {
		for connection := range g.open {
			connection.Close()
		}
	}
}

// database is a fresh one of a PostgreSQL on this machine.
type database struct {
	*gate
	user *url.Userinfo
	name string
}

func newDatabase(t *testing.T) database {
	t.Helper()
	parsed, err := url.Parse(servers.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(parsed.Query().Get("host"), ".s.PGSQL.5432")
	return database{newGate(t, "unix", socket), parsed.User, strings.TrimPrefix(parsed.Path, "/")}
}

// url of the database for pods.
func (d database) url() string {
	return fmt.Sprintf("postgres://%s@%s/%s?sslmode=disable", d.user, d.address, d.name)
}
