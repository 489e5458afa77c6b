package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	certmetrics "sigs.k8s.io/controller-runtime/pkg/certwatcher/metrics"
)

var healthAt = regexp.MustCompile(`msg="serving health and metrics" url=(http://\S+)`)

// TestShutdownDelay: after SIGTERM /readyz is 503, new connections are still
// served, and those that are open are asked to go.
func TestShutdownDelay(t *testing.T) { // not parallel: it sets the process's loggers
	url, logged, stop := start(t, "--shutdown-delay", "5s", "--metrics-listen", "127.0.0.1:0")
	health := logged.find(healthAt)
	if said := get(health + "/readyz"); said != "" {
		t.Fatalf("ready, but at the address of health: %s", said)
	}
	if got := get(url + "/metrics"); !strings.HasPrefix(got, "404") {
		t.Errorf("metrics at both addresses: %s", got)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	eventually(t, func() string {
		if got := get(health + "/readyz"); !strings.HasPrefix(got, "503") {
			return "still ready: " + got
		}
		return ""
	})
	for _, path := range []string{"/livez", "/metrics"} {
		if said := get(health + path); said != "" {
			t.Errorf("%s while it stops: %s", path, said)
		}
	}
	for range 2 {
		answer, err := http.Get(url + "/v1/packages")
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK || !answer.Close {
			t.Errorf("%s, close %v; want 200, and the connection closed", answer.Status, answer.Close)
		}
	}
	if strings.Contains(logged.String(), "msg=draining") {
		t.Error("the machine was too slow: it drained before it was asked")
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if got := get(health + "/livez"); got == "" {
		t.Error("the second address still serves")
	}
}

// TestMaxConnections: at the limit the longest idle connection makes room; where
// all are in use the next one waits; health does not.
func TestMaxConnections(t *testing.T) { // not parallel: see above
	url, logged, stop := start(t, "--max-connections", "2", "--metrics-listen", "127.0.0.1:0")
	var open []net.Conn
	ask := func(request string) {
		t.Helper()
		connection, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { connection.Close() }) //nolint:errcheck // a test's
		open = append(open, connection)
		if err := connection.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(connection, request); err != nil {
			t.Fatal(err)
		}
		if answer, err := http.ReadResponse(bufio.NewReader(connection), nil); err != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("%v, %v", answer, err)
		}
	}
	const idle, busy = "GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "GET /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n"
	ask(idle)
	ask(idle)
	ask(busy) // instead of the first one
	if n, err := open[0].Read(make([]byte, 1)); n > 0 || err == nil {
		t.Errorf("the longest idle connection is still open: %d, %v", n, err)
	}
	ask(busy) // instead of the second one
	answered := make(chan string, 1)
	go func() {
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		answer, err := client.Get(url + "/livez")
		if err != nil {
			answered <- err.Error()
			return
		}
		answer.Body.Close()
		answered <- answer.Status
	}()
	if said := get(logged.find(healthAt) + "/livez"); said != "" {
		t.Errorf("health: %s", said)
	}
	select {
	case said := <-answered:
		t.Errorf("a third connection was served: %s", said)
	case <-time.After(200 * time.Millisecond):
	}
	open[2].Close()
	select {
	case said := <-answered:
		if said != "200 OK" {
			t.Error(said)
		}
	case <-time.After(time.Minute):
		t.Error("the third connection still waits")
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestCertificate: the certificate is that of the files, as a mounted Secret has them, now.
func TestCertificate(t *testing.T) { // not parallel: see above
	mounted := t.TempDir()
	first, second := newPair(t, 1), newPair(t, 2)
	mount(t, mounted, "a", first.files())
	file := func(name string) string { return filepath.Join(mounted, name) }
	logged, stop := launch(t, "--tls-cert-file", file("tls.crt"), "--tls-key-file", file("tls.key"))
	var url string
	eventually(t, func() string {
		if url = logged.find(servingAt); url == "" {
			return "it does not say where it serves"
		}
		return ""
	})
	if !strings.HasPrefix(url, "https://") {
		t.Fatalf("it serves at %s", url)
	}
	// serial asks on a new connection, and trusts that one certificate.
	serial := func(trusted pair) (int64, string) {
		roots := x509.NewCertPool()
		roots.AddCert(trusted.leaf)
		client := http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
		answer, err := client.Get(url + "/livez")
		if err != nil {
			return 0, err.Error()
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK || answer.ProtoMajor != 1 {
			t.Errorf("%s over %s", answer.Status, answer.Proto)
		}
		return answer.TLS.PeerCertificates[0].SerialNumber.Int64(), ""
	}
	if got, said := serial(first); got != 1 {
		t.Fatalf("serial %d: %s", got, said)
	}
	if _, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}}}).Get(url + "/livez"); err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("TLS 1.1: %v", err)
	}

	mount(t, mounted, "b", second.files())
	eventually(t, func() string {
		got, said := serial(second)
		if got != 2 {
			return "the new certificate is not served: " + said
		}
		return ""
	})

	// A pair that does not belong together is said and not served.
	refused := testutil.ToFloat64(certmetrics.ReadCertificateErrors)
	broken := newPair(t, 3).files()
	broken["tls.key"] = first.files()["tls.key"]
	mount(t, mounted, "c", broken)
	eventually(t, func() string {
		if logged.find(refusedPair) == "" {
			return "the broken pair was not looked at"
		}
		return ""
	})
	if testutil.ToFloat64(certmetrics.ReadCertificateErrors) <= refused {
		t.Error("certwatcher_read_certificate_errors_total does not count the broken pair")
	}
	if got, said := serial(second); got != 2 {
		t.Errorf("serial %d: %s", got, said)
	}
	mount(t, mounted, "d", first.files())
	eventually(t, func() string {
		got, said := serial(first)
		if got != 1 {
			return "the certificate after the broken one is not served: " + said
		}
		return ""
	})
	if err := stop(); err != nil {
		t.Error(err)
	}
}

var refusedPair = regexp.MustCompile(`the new certificate or key is invalid; the previous pair stays in use" error="?(\w+)`)

func TestCertificateThatIsNone(t *testing.T) { // not parallel: see above
	folder := t.TempDir()
	files := newPair(t, 1).files()
	mount(t, folder, "a", map[string]string{"tls.crt": files["tls.key"], "tls.key": files["tls.key"]})
	o, err := parse([]string{
		"--config-dir", folder, "--data-dir", t.TempDir(), "--listen", "127.0.0.1:0",
		"--tls-cert-file", filepath.Join(folder, "tls.crt"), "--tls-key-file", filepath.Join(folder, "tls.key"),
	}, func(string) string { return "" }, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), o, &output{}); err == nil || !strings.Contains(err.Error(), "--tls-cert-file") {
		t.Errorf("got %v, want an error that names the flag", err)
	}
}

// pair is a certificate that signs itself, and its key.
type pair struct {
	leaf *x509.Certificate
	key  []byte // PEM
}

func (p pair) files() map[string]string {
	return map[string]string{"tls.crt": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.leaf.Raw})), "tls.key": string(p.key)}
}

func newPair(t *testing.T, serial int64) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pair{leaf, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})}
}

// mount puts files into a folder as the kubelet does: links to a link to a
// folder, which is replaced as a whole, and the old one removed.
func mount(t *testing.T, folder, version string, files map[string]string) {
	t.Helper()
	old, _ := os.Readlink(filepath.Join(folder, "..data"))
	if err := os.Mkdir(filepath.Join(folder, version), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(folder, version, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if old == "" {
			if err := os.Symlink(filepath.Join("..data", name), filepath.Join(folder, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	temporary := filepath.Join(folder, "..data_tmp")
	if err := os.Symlink(version, temporary); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(temporary, filepath.Join(folder, "..data")); err != nil {
		t.Fatal(err)
	}
	if old != "" {
		if err := os.RemoveAll(filepath.Join(folder, old)); err != nil {
			t.Fatal(err)
		}
	}
}
