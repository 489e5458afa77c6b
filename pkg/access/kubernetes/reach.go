package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/time/rate"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/coulomb/artifact-store/pkg/access"
)

// reach remembers that the API server does not answer, so that not every
// request waits for a time-out.
type reach struct {
	away atomic.Bool
	wake chan struct{} // has room for one
	// tellsReady: the server has said once that it is ready, so this manager is
	// allowed to ask.
	tellsReady atomic.Bool
	// unready is since when the server answers questions without being ready, in
	// nanoseconds; 0: it is ready, or does not answer.
	unready atomic.Int64
}

// nudge makes Run look at once.
func (r *reach) nudge() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

var (
	// errAway: the API server does not answer.
	errAway = errors.New("the API server does not answer")
	// errStarting: it answers, but has read only some of its rules.
	errStarting = errors.New("the API server is not ready yet")
	// errCrowded: too many questions wait, so this one was not asked. It does not
	// mean that the server is away: otherwise a flood of questions would keep
	// earlier permissions in force.
	errCrowded = errors.New("too many requests wait for the API server")
)

// ask asks the API server a question, within a rate limit: errAway if the
// server does not answer, errCrowded if the limit is reached. A caller that
// leaves does not cancel the question: the answer is cached for the next one.
func (k *Cluster) ask(ctx context.Context, limit *rate.Limiter, question func(ctx context.Context) error) error {
	if k.reach.away.Load() {
		return errAway
	}
	began := time.Now()
	err := askOnce(ctx, limit, question)
	if unanswered(err) && time.Since(began) < quickFailure {
		err = askOnce(ctx, limit, question)
	}
	if err != nil && !unanswered(err) && !errors.Is(err, errCrowded) {
		// Refused. A server that is starting refuses everybody.
		if starting := k.starting(ctx); starting != nil {
			err = starting
		}
	}
	if unanswered(err) {
		if !errors.Is(err, errStarting) {
			k.reach.unready.Store(0)
		}
		k.doesNotAnswer(err)
		return errAway
	}
	return err
}

// believed reports whether a "no" of the API server counts although the answer
// was "yes" before. It does not count while the server is starting: then the
// server is treated as away, for startingFor at most.
func (k *Cluster) believed(ctx context.Context) bool {
	err := k.starting(ctx)
	if err != nil {
		k.doesNotAnswer(err)
	}
	return err == nil
}

// starting returns nil if the API server is ready. It also returns nil if the
// server has never said so to this manager (usually everybody may ask, but a
// cluster can forbid it), or has answered for longer than a start takes: then
// something else is wrong with it, and its answers count. It is called when the
// API server has just answered something else.
func (k *Cluster) starting(ctx context.Context) error {
	err := askOnce(ctx, nil, func(ctx context.Context) error {
		return k.client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
	switch {
	case err == nil:
		k.reach.tellsReady.Store(true)
		k.reach.unready.Store(0)
	case !unanswered(err) && !k.reach.tellsReady.Load():
		// This manager may not ask.
	case !k.mayStart():
		// It has not become ready within the time of a start.
	case unanswered(err):
		return fmt.Errorf("%w: %w", errStarting, err)
	default:
		return fmt.Errorf("%w: it refuses what it answered before: %w", errStarting, err)
	}
	return nil
}

// mayStart reports whether an API server that answers but is not ready may have
// just been started.
func (k *Cluster) mayStart() bool {
	now := k.now().UnixNano()
	k.reach.unready.CompareAndSwap(0, now)
	return now-k.reach.unready.Load() < int64(startingFor)
}

// decides asks the API server a question whose answer does not matter: a server
// that serves its keys may still be unable to decide.
func (k *Cluster) decides(ctx context.Context) error {
	return askOnce(ctx, nil, func(ctx context.Context) error {
		_, err := k.subjectAccessReview(ctx, access.Identity{Name: "artifact-store"}, access.Action{Verb: access.Get, Resource: access.Packages})
		return err
	})
}

func askOnce(ctx context.Context, limit *rate.Limiter, question func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
	defer cancel()
	if limit != nil && limit.Wait(ctx) != nil {
		return errCrowded
	}
	return question(ctx)
}

// unanswered reports whether an error is not an answer: there was no
// connection, it was interrupted, the time ran out, or the server says that it
// cannot answer (5xx), not now (429) or not yet. Any other error is an answer.
func unanswered(err error) bool {
	if err == nil {
		return false
	}
	if errors.Is(err, errStarting) {
		return true
	}
	if status := apierrors.APIStatus(nil); errors.As(err, &status) {
		code := status.Status().Code
		return code >= http.StatusInternalServerError || code == http.StatusTooManyRequests
	}
	var network net.Error // *url.Error and *net.OpError among them
	return errors.As(err, &network) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET)
}
