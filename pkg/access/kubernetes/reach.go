package kubernetes

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/time/rate"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// reach remembers that the API server does not answer, so that not every
// request has to wait for that to be seen.
type reach struct {
	away atomic.Bool
	wake chan struct{} // has room for one
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
	if unanswered(err) {
		k.doesNotAnswer(err)
		return errAway
	}
	return err
}

func askOnce(ctx context.Context, limit *rate.Limiter, question func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
	defer cancel()
	if limit.Wait(ctx) != nil {
		return errCrowded
	}
	return question(ctx)
}

// unanswered lists the errors after which nothing is known of the answer:
// there was no connection, it broke, time ran out, or the server says that it
// cannot (5xx) or not now (429). Everything else is an answer.
func unanswered(err error) bool {
	if err == nil {
		return false
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
