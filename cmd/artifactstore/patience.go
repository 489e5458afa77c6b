package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/coulomb/artifact-store/pkg/client"
)

const (
	// defaultRetryFor outlasts the restart of a registry, and of a proxy before it.
	defaultRetryFor = time.Minute
	retryForEnv     = "ARTIFACTSTORE_RETRY_FOR"
)

// retrying is how long a call is tried again while the registry does not answer.
type retrying struct {
	retryFor time.Duration
	// invalid is what is wrong with the environment's value.
	invalid error
	told    sync.Mutex
	cause   string    // of the wait that was told last
	until   time.Time // the end of that wait
}

// retryDefault reads the default of --retry-for.
func (r *retrying) retryDefault(text string) time.Duration {
	if text == "" {
		return defaultRetryFor
	}
	value, err := time.ParseDuration(text)
	if err != nil {
		r.invalid = usage("%s: must be a duration such as 90s or 5m, is %.100q", retryForEnv, text)
	}
	return value
}

// patience of the calls of one run.
func (a *app) patience() client.Patience {
	return client.Patience{For: a.retryFor, Waiting: a.waiting}
}

// checkRetries refuses what patience cannot be.
func (a *app) checkRetries() error {
	switch {
	case a.retryFor < 0:
		return usage("--retry-for: must not be negative, is %s", a.retryFor)
	case a.invalid != nil && a.retryFor == 0:
		return a.invalid
	}
	return nil
}

// waiting prints a line for each wait. Files in transit that wait for the same reason
// at the same time share one.
func (a *app) waiting(w client.Wait) {
	cause := oneLine(a.explain(context.Background(), w.Cause))
	now := time.Now()
	a.told.Lock()
	same := cause == a.cause && now.Before(a.until)
	if !same {
		a.cause, a.until = cause, now.Add(w.Delay)
	}
	a.told.Unlock()
	if same {
		return
	}
	text := fmt.Sprintf("%s; trying again in %s", cause, shortly(w.Delay))
	if w.Left >= 0 {
		text += fmt.Sprintf(" (for up to %s)", shortly(w.Left))
	}
	a.note(text)
}

// shortly writes a wait.
func shortly(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}
