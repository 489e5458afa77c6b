package main

import (
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coulomb/artifact-store/pkg/database"
)

func TestParse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, tt := range []struct{ name, args, says string }{
		{"embedded", "--config-dir " + dir, ""},
		{"a cluster", "--namespace ns", ""},
		{"loopback by name", "--namespace ns --listen localhost:0", ""},
		{"loopback of six", "--namespace ns --listen [::1]:0", ""},
		{"everybody, on purpose", "--namespace ns --listen :8080 --allow-anonymous", ""},
		{"those with a token", "--listen :8080 --token-file f --config-dir " + dir, ""},
		{"tokens and anonymous access", "--token-file f --allow-anonymous --config-dir " + dir, "--allow-anonymous: cannot be combined with --token-file"},
		{"static tokens in a cluster", "--token-file f --namespace ns", "--token-file: requires --config-dir"},
		{"several replicas", "--namespace ns --leader-elect --database postgres://h/d", ""},
		{"those with a token of a cluster", "--namespace ns --listen :8080", ""},
		{"no audience", "--namespace ns --token-audience=", "--token-audience"},
		{"everybody", "--listen :8080 --config-dir " + dir, "--allow-anonymous"},
		{"everybody of six", "--listen [::]:8080 --config-dir " + dir, "--allow-anonymous"},
		{"somebody by name", "--listen example.com:8080 --config-dir " + dir, "--allow-anonymous"},
		{"no port", "--namespace ns --listen 127.0.0.1", "--listen"},
		{"no namespace", "", "--namespace"},
		{"an argument", "--namespace ns serve", `unexpected argument "serve"`},
		{"a flag that is none", "--namespaces ns", "not defined: -namespaces"},
		{"no such folder", "--config-dir " + filepath.Join(dir, "gone"), "--config-dir"},
		{"SQLite for several", "--namespace ns --leader-elect", "SQLite serves only one process"},
		{"leader election without replicas", "--leader-elect --config-dir " + dir, "--leader-elect"},
		{"too few buffers", "--namespace ns --buffer-bytes 1", "--buffer-bytes"},
		{"a format that is none", "--namespace ns --log-format xml", "--log-format"},
		{"a level that is none", "--namespace ns --log-level LOUD", "log-level"},
		{"a short life", "--namespace ns --upload-lifetime 1s", "--upload-lifetime"},
		{"pods that verify", "--namespace ns --image i:1 --verify-server https://registry.example:8443 --verify-ca configmap/trust/ca.crt", ""},
		{"no CA", "--namespace ns --verify-ca=", ""},
		{"a server that is none", "--namespace ns --verify-server registry", "--verify-server"},
		{"a CA of no kind", "--namespace ns --verify-ca tls/ca.crt", "secret/NAME/KEY"},
		{"no data", "--namespace ns --data-dir=", "--data-dir"},
		{"a certificate and its key", "--namespace ns --tls-cert-file a --tls-key-file b", ""},
		{"a certificate without a key", "--namespace ns --tls-cert-file a", "--tls-key-file"},
		{"a key without a certificate", "--namespace ns --tls-key-file a", "--tls-cert-file"},
		{"metrics for everybody", "--namespace ns --metrics-listen :8081", ""},
		{"metrics at no port", "--namespace ns --metrics-listen localhost", "--metrics-listen"},
		{"profiles", "--namespace ns --profile-listen 127.0.0.1:6060", ""},
		{"profiles for everybody", "--namespace ns --profile-listen :6060", "--profile-listen"},
		{"profiles for the network", "--namespace ns --profile-listen 10.0.0.1:6060", "--profile-listen"},
		{"profiles at no port", "--namespace ns --profile-listen localhost", "--profile-listen"},
		{"ending before the end", "--namespace ns --shutdown-delay -1s", "--shutdown-delay"},
		{"draining before the end", "--namespace ns --drain-timeout -1s", "--drain-timeout"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := parse(strings.Fields(tt.args), func(string) string { return "" }, io.Discard)
			switch {
			case tt.says == "" && err != nil:
				t.Error(err)
			case tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)):
				t.Errorf("%v; want an error that says %q", err, tt.says)
			}
		})
	}
}

func TestParseCompletes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o, err := parse([]string{"--config-dir", dir, "--data-dir", filepath.Join(dir, "data")}, func(string) string { return "" }, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if o.database != "sqlite://"+filepath.Join(dir, "data", "registry.db") || o.localRoot != o.dataDir || o.listen != "127.0.0.1:8080" {
		t.Errorf("%+v", o)
	}
	// What means something in a URL may be in a folder's name.
	odd := filepath.Join(dir, "a#b?c%41 d")
	o, err = parse([]string{"--config-dir", dir, "--data-dir", odd}, func(string) string { return "" }, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(odd, 0o750); err != nil {
		t.Fatal(err)
	}
	db, err := database.Open(t.Context(), o.database)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(odd, "registry.db")); err != nil {
		t.Error(err)
	}
	env := map[string]string{"POD_NAMESPACE": "from-env", "ARTIFACTSTORE_DATABASE": "postgres://from-env/d"}
	o, err = parse(nil, func(name string) string { return env[name] }, io.Discard)
	if err != nil || o.namespace != "from-env" || o.database != "postgres://from-env/d" || o.localRoot != "" {
		t.Errorf("%+v, %v", o, err)
	}
	var help strings.Builder
	if _, err := parse([]string{"--help"}, func(name string) string { return env[name] }, &help); !errors.Is(err, flag.ErrHelp) || !strings.Contains(help.String(), "-config-dir folder") {
		t.Errorf("%v:\n%s", err, help.String())
	}
	if strings.Contains(help.String(), "from-env/d") {
		t.Error("the help prints the database's URL, which may hold a password")
	}
}
