// Command load uses a registry from inside a cluster without a pause, and
// counts what fails. It pushes packages and reads each back, byte for byte, as
// the CLI does (with connections that stay open, and repeats of what may be
// repeated), and beside that asks plainly, on a new connection each time and
// without any repeat. Every second it prints its counts as a line of JSON; a
// failure is a line of its own. It ends with SIGTERM.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coulomb/artifact-store/pkg/client"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// Counts are what it prints. Failures are of any of the three.
type Counts struct {
	Pushes   int64 `json:"pushes"`
	Pulls    int64 `json:"pulls"`
	Asks     int64 `json:"asks"`
	Failures int64 `json:"failures"`
}

type load struct {
	server, tokenFile, producer, run string
	client                           *client.Client
	plain                            *http.Client
	pushes, pulls, asks, failures    atomic.Int64
}

func main() {
	server := flag.String("server", "", "`URL` of the registry")
	caFile := flag.String("ca-file", "", "PEM `file` of whom to trust")
	tokenFile := flag.String("token-file", "", "`file` of the token to send, read for each request")
	producer := flag.String("producer", "load", "`name` to push under")
	workers := flag.Int("workers", 3, "`number` of each kind")
	pause := flag.Duration("pause", 20*time.Millisecond, "between two rounds of a worker")
	flag.Parse()
	l := &load{server: *server, tokenFile: *tokenFile, producer: *producer, run: fmt.Sprintf("%x", time.Now().UnixNano())}
	if err := l.connect(*caFile); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var working sync.WaitGroup
	work := func(round func(ctx context.Context, worker, round int) error) {
		for worker := range *workers {
			working.Go(func() {
				for number := 0; ctx.Err() == nil; number++ {
					// A round that has begun is ended: what it meets counts.
					if err := round(context.WithoutCancel(ctx), worker, number); err != nil {
						l.failures.Add(1)
						fmt.Printf("failed %s: %v\n", time.Now().UTC().Format("15:04:05.000"), err)
					}
					select {
					case <-ctx.Done():
					case <-time.After(*pause):
					}
				}
			})
		}
	}
	work(l.pushAndPull)
	work(l.ask)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
			l.print()
		case <-ctx.Done():
		}
	}
	working.Wait()
	l.print()
}

func (l *load) print() {
	text, err := json.Marshal(Counts{l.pushes.Load(), l.pulls.Load(), l.asks.Load(), l.failures.Load()})
	if err != nil {
		panic(err) // numbers
	}
	fmt.Println(string(text))
}

func (l *load) connect(caFile string) error {
	opts := client.Options{UserAgent: "load"}
	var roots *x509.CertPool
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return err
		}
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return errors.New("no certificate in " + caFile)
		}
	}
	if opts.RootCAs = roots; l.tokenFile != "" {
		opts.Token = func() (storage.Secret, error) {
			text, err := l.token()
			return storage.NewSecret(text), err
		}
	}
	// HTTP/1.1: HTTP/2 can be told to go, but these connections are closed when they are idle.
	l.plain = &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
	}}
	var err error
	l.client, err = client.New(l.server, opts)
	return err
}

func (l *load) token() (string, error) {
	text, err := os.ReadFile(l.tokenFile)
	return strings.TrimSpace(string(text)), err
}

// pushAndPull publishes a package of two files and reads it back.
func (l *load) pushAndPull(ctx context.Context, worker, round int) error {
	ref := registry.PackageRef{Producer: l.producer, Name: fmt.Sprintf("load-%d", worker), Version: fmt.Sprintf("%s-%d", l.run, round)}
	files := map[string][]byte{
		"small": []byte(ref.String()),
		"large": bytes.Repeat([]byte(ref.String()+"\n"), 3000), // above 64 KiB
	}
	upload, err := l.client.OpenUpload(ctx, registry.OpenUpload{PackageRef: ref, RetentionClass: "test"})
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	for path, content := range files {
		if _, err := l.client.PutFile(ctx, upload.ID, path, registry.Content{Reader: bytes.NewReader(content), Size: int64(len(content)), Digests: digest.Of(content)}); err != nil {
			return fmt.Errorf("put: %w", err)
		}
	}
	if _, err := l.client.Publish(ctx, upload.ID, nil); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	l.pushes.Add(1)
	ctx = registry.WithHolder(ctx, l.producer)
	for path, content := range files {
		body, _, err := l.client.OpenBlob(ctx, digest.Of(content).SHA256, nil)
		if err != nil {
			return fmt.Errorf("get: %w", err)
		}
		got, err := io.ReadAll(body)
		body.Close() //nolint:errcheck // it was read
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		if !bytes.Equal(got, content) {
			return fmt.Errorf("%s of %s came back as something else", path, ref)
		}
	}
	l.pulls.Add(1)
	return nil
}

// ask sends one request on a connection of its own.
func (l *load) ask(ctx context.Context, _, _ int) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, l.server+"/v1/packages/"+l.producer+"/load-0?limit=1", nil)
	if err != nil {
		return err
	}
	if l.tokenFile != "" {
		token, err := l.token()
		if err != nil {
			return err
		}
		request.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := l.plain.Do(request)
	if err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	defer answer.Body.Close() //nolint:errcheck // it was read
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("ask: %s", answer.Status)
	}
	l.asks.Add(1)
	return nil
}
