package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/registry/view"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// runVerb runs a command line without a server and returns what a shell sees.
func runVerb(t *testing.T, variables map[string]string, args ...string) (code int, stdout, says string) {
	t.Helper()
	var out, info bytes.Buffer
	err := execute(t.Context(), args, environment{stdout: &out, stderr: &info, getenv: func(name string) string { return variables[name] }})
	if err != nil {
		says = err.Error()
	}
	return exitCode(err), out.String(), says + info.String()
}

func TestVerbs(t *testing.T) {
	t.Parallel()
	none := filepath.Join(t.TempDir(), "none.db")
	for _, tt := range []struct {
		args string
		code int
		says string
	}{
		{"views", 2, `unexpected argument "views"`},
		{"views mend", 2, `unexpected argument "views"`},
		{"views check", 2, "database: set --database or ARTIFACTSTORE_DATABASE"},
		{"views check --database sqlite://" + none, 1, "none.db: no such file or directory"},
		{"views check --database", 2, "needs an argument: -database"},
		{"views check here", 2, `unexpected argument "here"`},
		{"views check --output xml", 2, "must be table, json or yaml"},
		{"views check --kubeconfig x", 2, "not defined: -kubeconfig"},
		{"views check --help", 0, "Usage: manager views check [flags]"},
		{"recover --reason x", 2, "needs --accept-older-log and --reason"},
		{"recover --accept-older-log", 2, "needs --accept-older-log and --reason"},
		{"recover --accept-older-log --reason x --database sqlite://" + none, 1, "none.db: no such file or directory"},
		{"--help", 0, "manager recover: accept"},
		{"--help", 0, "manager views check: replay the log"},
		{"--help", 0, "manager views rebuild: replay the log"},
		{"views rebuild --database sqlite://" + none, 1, "none.db: no such file or directory"},
		{"views rebuild --help", 0, "Usage: manager views rebuild [flags]"},
	} {
		if code, _, says := runVerb(t, nil, strings.Fields(tt.args)...); code != tt.code || !strings.Contains(says, tt.says) {
			t.Errorf("manager %s: exit %d, %q; want exit %d, %q", tt.args, code, says, tt.code, tt.says)
		}
	}
	if _, err := os.Stat(none); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a check has left %s behind: %v", none, err)
	}
}

// The views of a manager that serves are the fold of its log; a row that is
// changed by hand is found.
func TestViewsCheck(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	start(t, "--data-dir", data)
	address := "sqlite://" + filepath.Join(data, "registry.db")
	code, stdout, says := runVerb(t, map[string]string{"ARTIFACTSTORE_DATABASE": address}, "views", "check", "-o", "json")
	var report view.Report
	if err := json.Unmarshal([]byte(stdout), &report); code != 0 || err != nil || report.Events == 0 || report.Rows["backends"] == 0 {
		t.Errorf("exit %d, %q, %q", code, stdout, says)
	}
	ctx := context.Background()
	db, err := database.Open(ctx, address)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // a test's
	if err := db.Write(ctx, func(tx database.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE backends SET place = 'elsewhere'`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if code, stdout, says := runVerb(t, nil, "views", "check", "--database", address); code != 3 || stdout != "" || !strings.Contains(says, "elsewhere") {
		t.Errorf("a damaged row: exit %d, %q, %q", code, stdout, says)
	}
	if code, stdout, says := runVerb(t, nil, "views", "rebuild", "--database", address); code != 0 || !strings.Contains(stdout, "2 rows") {
		t.Errorf("the rebuild: exit %d, %q, %q", code, stdout, says)
	}
	if code, stdout, says := runVerb(t, nil, "views", "check", "--database", address); code != 0 || !strings.Contains(stdout, "equal to the replay") {
		t.Errorf("after the rebuild: exit %d, %q, %q", code, stdout, says)
	}
}

// A database that was restored from an older copy is told apart by the head
// mark of a backend; recover accepts it, and the manager moves the mark.
func TestRecover(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	config := filepath.Join(data, "config")
	if err := os.MkdirAll(config, 0o750); err != nil {
		t.Fatal(err)
	}
	declaration := "apiVersion: artifactstore.dev/v1alpha1\nkind: StorageBackend\nmetadata: {name: one}\nspec: {local: {path: one}, probe: {interval: 5s, timeout: 5s}}\n"
	if err := os.WriteFile(filepath.Join(config, "one.yaml"), []byte(declaration), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(data, "one"), 0o750); err != nil {
		t.Fatal(err)
	}
	start(t, "--data-dir", data, "--config-dir", config)
	mark := filepath.Join(data, "one", storage.HeadMarkKey)
	eventually(t, func() string {
		if _, err := os.Stat(mark); err != nil {
			return err.Error()
		}
		return ""
	})
	address := "sqlite://" + filepath.Join(data, "registry.db")
	check := []string{"views", "check", "--database", address, "--config-dir", config, "--data-dir", data}
	accept := []string{"recover", "--database", address, "--accept-older-log", "--reason", "a test"}
	if code, stdout, says := runVerb(t, nil, check...); code != 0 || !strings.Contains(stdout, "which the log has") {
		t.Errorf("the right database: exit %d, %q, %q", code, stdout, says)
	}
	if code, _, says := runVerb(t, nil, accept...); code != 1 || !strings.Contains(says, "no backend is known") {
		t.Errorf("nothing to recover from: exit %d, %q", code, says)
	}
	text, err := os.ReadFile(mark)
	if err != nil {
		t.Fatal(err)
	}
	ahead := []byte(regexp.MustCompile(`"position": \d+`).ReplaceAllString(string(text), `"position": 99`))
	if err := os.WriteFile(mark, ahead, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, says := runVerb(t, nil, check...); code != 3 || !strings.Contains(says, "event 99") {
		t.Errorf("an older database: exit %d, %q", code, says)
	}
	eventually(t, func() string { // with the next probe the manager knows
		code, stdout, says := runVerb(t, nil, accept...)
		if code != 0 || !strings.Contains(stdout, "one") {
			return says
		}
		return ""
	})
	eventually(t, func() string {
		if now, err := os.ReadFile(mark); err != nil || strings.Contains(string(now), `"position": 99`) {
			return "the mark was not moved"
		}
		return ""
	})
	if code, stdout, says := runVerb(t, nil, check...); code != 0 {
		t.Errorf("after it: exit %d, %q, %q", code, stdout, says)
	}

	// Whoever can write to the backend chooses the words of its mark.
	foreign := regexp.MustCompile(`"logId": "[^"]*"`).ReplaceAllString(string(text), `"logId": "\u001b[31mred\nline"`)
	if err := os.WriteFile(mark, []byte(foreign), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, says := runVerb(t, nil, check...); code != 3 || !strings.Contains(says, `"\x1b[31mred\nline"`) || strings.Contains(says, "\x1b") {
		t.Errorf("a mark with control characters: exit %d, %q", code, says)
	}
}

func TestPrintable(t *testing.T) {
	if got, want := printable("a\x1b[31mö\nb\u202e\t"), "a\\x1b[31mö\nb\\u202e\\t"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
