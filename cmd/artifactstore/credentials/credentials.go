// Package credentials gets the token of the user from where it is kept: a file, a
// command, or a credential helper. No error shows a token, and no token is ever an
// argument of a program, which every list of processes shows.
package credentials

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/coulomb/artifact-store/pkg/access"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// Source returns the token to send now. It may be called concurrently.
type Source func() (storage.Secret, error)

const (
	// commandTimeout bounds a command that prints a token: it may ask a person.
	commandTimeout = 5 * time.Minute
	// renewBefore is how long before a token expires another one is made.
	renewBefore = 30 * time.Second
)

// parse takes one token with white space around it.
func parse(content []byte, from string) (storage.Secret, error) {
	content = bytes.TrimSpace(content)
	switch {
	case len(content) == 0:
		return storage.Secret{}, fmt.Errorf("%s is empty", from)
	case len(content) > access.MaxTokenLength:
		return storage.Secret{}, fmt.Errorf("%s is larger than %d bytes, the limit for a token", from, access.MaxTokenLength)
	case bytes.ContainsFunc(content, func(c rune) bool { return c < '!' || c > '~' }):
		return storage.Secret{}, fmt.Errorf("%s must contain exactly one token", from)
	}
	return storage.NewSecret(string(content)), nil
}

// Parse is Read of a text.
func Parse(text, from string) (storage.Secret, error) { return parse([]byte(text), from) }

// Fixed returns the source of a token that does not change.
func Fixed(token storage.Secret) Source {
	return func() (storage.Secret, error) { return token, nil }
}

// Renewed returns a source that gets a token by get when it has none, and when the
// one that it has is about to expire.
func Renewed(get Source) Source {
	var mu sync.Mutex
	var token storage.Secret
	return func() (storage.Secret, error) {
		mu.Lock()
		defer mu.Unlock()
		if !token.IsZero() && !Expiring(token, time.Now()) {
			return token, nil
		}
		next, err := get()
		if err == nil {
			token = next
		}
		return next, err
	}
}

// Expiring reports whether a token says that it is or will soon be of no use.
func Expiring(token storage.Secret, now time.Time) bool {
	times, known := TimesOf(token)
	return known && !times.Expires.IsZero() && now.Add(renewBefore).After(times.Expires)
}

// Command returns the source of the token that a line for the shell prints. What
// it says on its standard error goes to stderr.
func Command(line string, stderr io.Writer) Source {
	return Renewed(func() (storage.Secret, error) {
		ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
		defer cancel()
		command := exec.CommandContext(ctx, "sh", "-c", line) //nolint:gosec // the user's own
		if runtime.GOOS == "windows" {
			command = exec.CommandContext(ctx, "cmd", "/c", line) //nolint:gosec // the user's own
		}
		command.Stderr = stderr
		command.WaitDelay = time.Second // for what it has left running
		output, err := command.Output()
		if err != nil {
			return storage.Secret{}, fmt.Errorf("the token command: %w", err)
		}
		token, err := parse(output, "its output")
		if err != nil {
			return storage.Secret{}, fmt.Errorf("the token command: %w", err)
		}
		return token, nil
	})
}

// lastLine of what a program said, bounded.
func lastLine(text string) string {
	lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' })
	if len(lines) == 0 {
		return ""
	}
	const most = 300
	last := strings.TrimSpace(lines[len(lines)-1])
	return last[:min(len(last), most)]
}
