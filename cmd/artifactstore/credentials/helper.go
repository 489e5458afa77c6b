package credentials

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/coulomb/artifact-store/pkg/storage"
)

// helperTimeout bounds a helper, which may ask a person to unlock a key ring.
const helperTimeout = 5 * time.Minute

// Helper is a program of Docker's protocol (docker-credential-NAME), as there are
// for the key rings of macOS, Windows, GNOME and KDE, and for pass: it is given a
// verb, and on its standard input what the verb is about.
type Helper struct{ Name string }

// entry is what helpers exchange.
type entry struct {
	ServerURL string `json:"ServerURL"`
	Username  string `json:"Username"`
	Secret    string `json:"Secret"`
}

// Key names the token of a context among those that a helper keeps. It begins with the
// server's address, since some helpers take it apart.
func Key(server, context string) string {
	return strings.TrimRight(server, "/") + "/.artifactstore/" + context
}

// Get returns the token of a key.
func (h Helper) Get(key string) (storage.Secret, error) {
	output, err := h.run("get", key)
	if err != nil {
		return storage.Secret{}, err
	}
	var found entry
	if err := json.Unmarshal(output, &found); err != nil {
		return storage.Secret{}, fmt.Errorf("%s get: its answer is not JSON", h.program())
	}
	token, err := parse([]byte(found.Secret), "the secret")
	if err != nil {
		return storage.Secret{}, fmt.Errorf("%s get: %w", h.program(), err)
	}
	return token, nil
}

// Store keeps a token.
func (h Helper) Store(key string, token storage.Secret) error {
	input, err := json.Marshal(entry{ServerURL: key, Username: "artifactstore", Secret: token.Reveal()})
	if err != nil {
		return err
	}
	_, err = h.run("store", string(input))
	return err
}

// Erase removes it.
func (h Helper) Erase(key string) error {
	_, err := h.run("erase", key)
	return err
}

func (h Helper) program() string { return "docker-credential-" + h.Name }

func (h Helper) run(verb, input string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), helperTimeout)
	defer cancel()
	command := exec.CommandContext(ctx, h.program(), verb) //nolint:gosec // the user's own
	command.Stdin = strings.NewReader(input)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	command.WaitDelay = time.Second
	err := command.Run()
	if errors.Is(err, exec.ErrNotFound) {
		return nil, fmt.Errorf("the credential helper %s is not in PATH", h.program())
	}
	if err != nil {
		// Helpers say on their standard output what is wrong. That of a get that
		// failed half-way might be the secret.
		said := lastLine(stderr.String())
		if said == "" && !strings.Contains(stdout.String(), `"Secret"`) {
			said = lastLine(stdout.String())
		}
		if said != "" {
			return nil, fmt.Errorf("%s %s: %w: %s", h.program(), verb, err, said)
		}
		return nil, fmt.Errorf("%s %s: %w", h.program(), verb, err)
	}
	return stdout.Bytes(), nil
}
