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
// request has to wait for that to be seen.
type reach struct {
	away atomic.Bool
	wake chan struct{} // has room for one
	// tellsReady: it has told this manager once that it is ready, so that it
	// may be expected to.
	tellsReady atomic.Bool
	// unready is since when it answers questions and does not say that it is
	// ready, in nanoseconds; 0: it is ready, or does not answer.
	unready atomic.Int64
}

// nudge makes Run look now.
func (r *reach) nudge() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

var (
	// errAway: the API server does not answer.
	errAway = errors.New("the API server does not answer")
	// errStarting: it answers, by what it has read of its rules so far.
	errStarting = errors.New("the API server is not ready yet")
	// errCrowded: so many questions wait that this one was not put. That says
	// nothing of the server: whoever floods it must not make it look away, for
	// then what it allowed earlier would hold.
	errCrowded = errors.New("too many questions wait for the API server")
)

// ask puts a question to the API server, within a limit on how many are put
// to it; errAway if it does not answer, errCrowded if there is no room. A
// caller that leaves does not break it off: the answer is kept for the next.
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
		// Refused. One that is starting refuses everybody.
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

// believed reports whether a "no" of the API server counts that is against
// what was known: it does not while it is starting, before it has read all
// accounts and rules. Then it is as good as away, for startingFor at most.
func (k *Cluster) believed(ctx context.Context) bool {
	err := k.starting(ctx)
	if err != nil {
		k.doesNotAnswer(err)
	}
	return err == nil
}

// starting is nil if the API server says that it is ready, or has never told
// this manager so, which everybody may ask unless a cluster took that away; also
// if it answers for longer than a start takes, and still is not ready: something
// else is wrong with it then, and what it says counts. It is asked where the API
// server has just answered something else.
func (k *Cluster) starting(ctx context.Context) error {
	err := askOnce(ctx, nil, func(ctx context.Context) error {
		return k.client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
	switch {
	case err == nil:
		k.reach.tellsReady.Store(true)
		k.reach.unready.Store(0)
	case !unanswered(err) && !k.reach.tellsReady.Load():
		// Nobody may ask it.
	case !k.mayStart():
		// It goes on without being ready.
	case unanswered(err):
		return fmt.Errorf("%w: %w", errStarting, err)
	default:
		return fmt.Errorf("%w: it refuses what it told before: %w", errStarting, err)
	}
	return nil
}

// mayStart reports whether an API server that answers and is not ready may be
// one that has just been started.
func (k *Cluster) mayStart() bool {
	now := k.now().UnixNano()
	k.reach.unready.CompareAndSwap(0, now)
	return now-k.reach.unready.Load() < int64(startingFor)
}

// decides puts a question to the API server whose answer does not matter: one
// that serves its keys may all the same be unable to decide.
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

// unanswered lists the errors after which nothing is known of the answer:
// there was no connection, it broke, time ran out, or the server says that it
// cannot (5xx), not now (429) or not yet. Everything else is an answer.
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
