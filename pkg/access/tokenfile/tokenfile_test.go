package tokenfile

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/access"
	"github.com/coulomb/artifact-store/pkg/storage"
)

const (
	first  = "first-token-of-the-test"
	second = "second-token-of-the-test"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	// As an editor or a kubelet does: the file is replaced.
	if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func opened(t *testing.T, content string) *File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokens.yaml")
	write(t, path, content)
	f, err := Open(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func sum(token string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(token))) }

func TestWhoMayDoWhat(t *testing.T) {
	t.Parallel()
	f := opened(t, `
tokens:
- name: ci
  sha256: `+sum(first)+`
  allow:
  - {resource: packages, verbs: [create, get], names: [team-a, "team-b-*"]}
  - {resource: backends, verbs: [list]}
- name: admin
  token: `+second+`
  allow: [{resource: "*", verbs: ["*"]}]
- name: reader
  sha256: `+sum("third-token-of-the-test")+`
  allow: [{resource: packages, verbs: [get, list], names: ["*"]}]
- name: nobody
  sha256: `+sum("fourth-token-of-the-test")+`
`)
	ctx := context.Background()
	for token, name := range map[string]string{first: "ci", second: "admin", sum(first): "", "first": "", "other-token-of-the-test": ""} {
		who, err := f.Authenticate(ctx, storage.NewSecret(token))
		if name == "" && (!errors.Is(err, access.ErrUnauthenticated) || who.Name != "") || name != "" && (err != nil || who.Name != name) {
			t.Errorf("a token of %q: %q, %v", name, who.Name, err)
		}
		if err != nil && strings.Contains(err.Error(), token) {
			t.Errorf("the error shows the token: %v", err)
		}
	}
	for who, want := range map[string]string{
		"ci":     "[{packages [create get] [team-a team-b-*]} {backends [list] []}]",
		"admin":  "[{* [*] []}]",
		"nobody": "[]", "no-such": "[]",
	} {
		if got := fmt.Sprint(f.Permissions(access.Identity{Name: who})); got != want {
			t.Errorf("permissions of %s: got %s, want %s", who, got, want)
		}
	}
	for _, c := range []struct {
		who, verb, resource, name string
		allowed                   bool
	}{
		{"ci", access.Create, access.Packages, "team-a", true},
		{"ci", access.Get, access.Packages, "team-b-x", true},
		{"ci", access.Create, access.Packages, "team-ab", false},
		{"ci", access.List, access.Packages, "team-a", false},
		{"ci", access.Get, access.Packages, "", false}, // all packages
		{"ci", access.List, access.Backends, "", true},
		{"ci", access.Get, access.Backends, "b", false},
		{"ci", access.Get, access.Events, "", false},
		{"admin", access.Create, access.Sweeps, "b", true},
		{"admin", access.Get, access.Packages, "", true},
		{"reader", access.Get, access.Packages, "", true}, // "*" is all
		{"reader", access.Create, access.Packages, "x", false},
		{"nobody", access.Get, access.Packages, "x", false},
		{"no such", access.Get, access.Packages, "x", false},
		{"", access.Get, access.Packages, "x", false},
	} {
		err := f.Authorize(ctx, access.Identity{Name: c.who}, access.Action{Verb: c.verb, Resource: c.resource, Name: c.name})
		if c.allowed != (err == nil) || err != nil && !errors.Is(err, access.ErrForbidden) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// TestRefusesBadFiles: errors name the field or line, and never show a token.
func TestRefusesBadFiles(t *testing.T) {
	t.Parallel()
	const secret = "hunter2-hunter2-hunter2"
	long := strings.Repeat("x", access.MaxTokenLength+1)
	for content, says := range map[string]string{
		"tokens: [{name: a, token: " + secret + ", rights: all}]": `unknown field "tokens[0].rights"`,
		"token: []":      `unknown field "token"`,
		"tokens: {a: b}": "tokens",
		"tokens:\n- name: a\n  token: " + secret + "\n token: x\n":                                                                              "line 3",
		"tokens:\n- name: a\n  token: " + secret + "\n  token: " + secret + "\n":                                                                "line 4",
		"tokens:\n- \"" + secret + "\n":                                                                                                         "is not valid YAML",
		"tokens: [{token: " + secret + "}]":                                                                                                     "tokens[0].name",
		"tokens: [{name: a b, token: " + secret + "}]":                                                                                          "tokens[0].name",
		"tokens: [{name: 'system:serviceaccount:a:b', token: " + secret + "}]":                                                                  "tokens[0].name",
		"tokens: [{name: a}]":                                                                                                                   "tokens[0].sha256: exactly one of",
		"tokens: [{name: a, token: " + secret + ", sha256: " + sum(secret) + "}]":                                                               "tokens[0].sha256: exactly one of",
		"tokens: [{name: a, sha256: abc}]":                                                                                                      "tokens[0].sha256: must be 64 hex digits",
		"tokens: [{name: a, sha256: " + sum(secret) + "00}]":                                                                                    "tokens[0].sha256: must be 64 hex digits",
		"tokens: [{name: a, token: short}]":                                                                                                     "tokens[0].token: must be 16 to",
		"tokens: [{name: a, token: " + long + "}]":                                                                                              "tokens[0].token: must be 16 to",
		"tokens: [{name: a, token: '" + secret + " " + secret + "'}]":                                                                           "tokens[0].token: must be 16 to",
		"tokens: [{name: a, token: 12345678901234567890}]":                                                                                      "tokens.token of type string",
		"tokens: [{name: a, token: " + secret + "}, {name: a, token: other-" + secret + "}]":                                                    `tokens[1].name: "a" is used twice`,
		"tokens: [{name: a, token: " + secret + "}, {name: b, sha256: " + sum(secret) + "}]":                                                    `tokens[1]: has the same token as "a"`,
		"tokens: [{name: a, token: " + secret + ", allow: [{resource: blobs, verbs: [get]}]}]":                                                  "tokens[0].allow[0].resource",
		"tokens: [{name: a, token: " + secret + ", allow: [{resource: packages}]}]":                                                             "tokens[0].allow[0].verbs: must not be empty",
		"tokens: [{name: a, token: " + secret + ", allow: [{resource: packages, verbs: [get, push]}]}]":                                         "tokens[0].allow[0].verbs[1]",
		"tokens: [{name: a, token: " + secret + ", allow: [{resource: events, verbs: [create]}]}]":                                              "tokens[0].allow[0].verbs[0]",
		"tokens: [{name: a, token: " + secret + ", allow: [{resource: '*', verbs: [push]}]}]":                                                   "tokens[0].allow[0].verbs[0]",
		"tokens: [{name: a, token: " + secret + ", allow: [{resource: packages, verbs: [get], names: [a/b]}]}]":                                 "tokens[0].allow[0].names[0]",
		"tokens: [{name: a, token: " + secret + ", allow: [{resource: packages, verbs: [get], names: ['']}]}]":                                  "tokens[0].allow[0].names[0]",
		"# " + strings.Repeat("x", maxFile):                                                                                                     "larger than",
		"tokens: [" + strings.Repeat("{name: a},", maxTokens+1) + "]":                                                                           "tokens: must be at most",
		"tokens: [{name: a, token: " + secret + ", allow: [" + strings.Repeat("{resource: events},", maxRules+1) + "]}]":                        "tokens[0].allow: must be at most",
		"tokens: [{name: a, token: " + secret + ", allow: [{resource: '*', verbs: ['*'], names: [" + strings.Repeat("a,", maxNames+1) + "]}]}]": "names: must be at most",
	} {
		path := filepath.Join(t.TempDir(), "tokens.yaml")
		write(t, path, content)
		_, err := Open(path, slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), path) {
			t.Errorf("%.120q: %v; want an error that says %q and names the file", content, err, says)
		} else if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "123456") {
			t.Errorf("%.120q: the error shows the token: %v", content, err)
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "gone"), slog.New(slog.DiscardHandler)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// logged is a log that two goroutines may have.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// TestTakesEditsUp: good ones; bad ones are logged, once, and change nothing.
func TestTakesEditsUp(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens.yaml")
	entry := func(name, token string) string {
		return "tokens: [{name: " + name + ", token: " + token + ", allow: [{resource: events, verbs: [get]}]}]"
	}
	write(t, path, entry("one", first))
	var log logged
	f, err := Open(path, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); f.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	until := func(what string, done func() bool) {
		t.Helper()
		tick, deadline := time.NewTicker(20*time.Millisecond), time.Now().Add(30*time.Second)
		defer tick.Stop()
		for !done() {
			if time.Now().After(deadline) {
				t.Fatalf("%s: not within 30 s\n%s", what, log.String())
			}
			<-tick.C
		}
	}
	knows := func(token string) bool {
		_, err := f.Authenticate(ctx, storage.NewSecret(token))
		return err == nil
	}
	write(t, path, "tokens: [{name: one, token: "+second+", rights: all}]")
	until("a bad edit", func() bool { return strings.Contains(log.String(), `unknown field \"tokens[0].rights\"`) })
	if !knows(first) || knows(second) {
		t.Error("a bad edit has changed who is known")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	until("no file", func() bool { return strings.Contains(log.String(), "no such file") })
	if !knows(first) {
		t.Error("without the file nobody is known any more")
	}
	write(t, path, entry("two", second))
	until("a good edit", func() bool { return knows(second) })
	if knows(first) {
		t.Error("a token that was taken out is still known")
	}
	if err := f.Authorize(ctx, access.Identity{Name: "one"}, access.Action{Verb: access.Get, Resource: access.Events}); !errors.Is(err, access.ErrForbidden) {
		t.Errorf("who was taken out: %v", err)
	}
	if strings.Contains(log.String(), second) || strings.Contains(log.String(), first) {
		t.Errorf("the log shows a token:\n%s", log.String())
	}
	if n := strings.Count(log.String(), "rights"); n != 1 {
		t.Errorf("the bad edit was logged %d times", n)
	}
}

// TestPipe: a named pipe in the place of the file is refused, and nothing waits for it.
func TestPipe(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "tokens")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(pipe, slog.New(slog.DiscardHandler)); err == nil || err.Error() != pipe+" is a named pipe, not a regular file" {
		t.Errorf("%v", err)
	}
}
