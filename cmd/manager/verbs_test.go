package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/registry/view"
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
		{"views check --config-dir x", 2, "not defined: -config-dir"},
		{"views check --help", 0, "Usage: manager views check [flags]"},
		{"recover --reason x", 2, "needs --accept-older-log and --reason"},
		{"recover --accept-older-log", 2, "needs --accept-older-log and --reason"},
		{"recover --accept-older-log --reason x --database sqlite://" + none, 1, "none.db: no such file or directory"},
		{"--help", 0, "manager recover: accept"},
		{"--help", 0, "manager views check: replay the log"},
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
}
