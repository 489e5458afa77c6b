// Package kubectl has the user's own kubectl make tokens and tunnels. It knows
// their kubeconfig, and every way in which a cluster lets people in.
package kubectl

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/coulomb/artifact-store/pkg/storage"
)

// timeout of kubectl: it may open a browser for its user to log in.
const timeout = 5 * time.Minute

// Cluster is one that kubectl reaches.
type Cluster struct {
	// Context of the kubeconfig; "" is its current one.
	Context string
}

// Account is a ServiceAccount, and the token to make for it.
type Account struct {
	Namespace, Name string
	Audience        string
	Duration        string // "" is what the cluster gives
}

// Token makes a token: kubectl create token. It goes through a pipe and is no argument.
func (c Cluster) Token(ctx context.Context, account Account) (storage.Secret, error) {
	args := []string{"create", "token", account.Name, "--namespace=" + account.Namespace, "--audience=" + account.Audience}
	if account.Duration != "" {
		args = append(args, "--duration="+account.Duration)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	command := c.command(ctx, args...)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	command.WaitDelay = time.Second
	if err := command.Run(); err != nil {
		return storage.Secret{}, failure("kubectl create token "+account.Name, err, stderr.String())
	}
	token := strings.TrimSpace(stdout.String())
	if token == "" || strings.ContainsFunc(token, func(c rune) bool { return c < '!' || c > '~' }) {
		return storage.Secret{}, fmt.Errorf("kubectl create token %s: its output is not a token", account.Name)
	}
	return storage.NewSecret(token), nil
}

// Namespace that the kubeconfig's context names, "default" if none.
func (c Cluster) Namespace(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	command := c.command(ctx, "config", "view", "--minify", "--output=jsonpath={.contexts[0].context.namespace}")
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	command.WaitDelay = time.Second
	if err := command.Run(); err != nil {
		return "", failure("kubectl config view", err, stderr.String())
	}
	if namespace := strings.TrimSpace(stdout.String()); namespace != "" {
		return namespace, nil
	}
	return "default", nil
}

func (c Cluster) command(ctx context.Context, args ...string) *exec.Cmd {
	if c.Context != "" {
		args = append(args, "--context="+c.Context)
	}
	return exec.CommandContext(ctx, "kubectl", args...) //nolint:gosec // names were validated
}

// failure says what kubectl said.
func failure(what string, err error, stderr string) error {
	if errors.Is(err, exec.ErrNotFound) {
		return errors.New("kubectl is not in PATH: install it, or log in with --token-file or --token-command")
	}
	lines := strings.FieldsFunc(stderr, func(r rune) bool { return r == '\n' || r == '\r' })
	if len(lines) == 0 {
		return fmt.Errorf("%s: %w", what, err)
	}
	const most = 300
	last := strings.TrimSpace(lines[len(lines)-1])
	return fmt.Errorf("%s: %s", what, last[:min(len(last), most)])
}
