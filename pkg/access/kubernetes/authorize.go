package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/time/rate"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/coulomb/artifact-store/pkg/access"
)

// question is who wants to do what. The token is not part of it: a holder may
// come with a new one.
type question struct {
	name, groups string
	what         access.Action
}

// Authorize implements access.Authorizer. Most calls end at a look-up.
func (k *Cluster) Authorize(ctx context.Context, who access.Identity, what access.Action) error {
	q := question{who.Name, strings.Join(who.Groups, "\x00"), what}
	now := k.now()
	if asked, ok := k.allowed.Get(q); ok && now.Sub(asked) < allowedFor {
		return nil
	}
	if asked, ok := k.denied.Get(q); ok && now.Sub(asked) < deniedFor {
		return k.forbidden(who, what)
	}
	key := strings.Join([]string{"action", q.name, q.groups, what.Verb, what.Resource, what.Name}, "\x00\x00")
	answer := k.asking.DoChan(key, func() (any, error) {
		if asked, ok := k.denied.Get(q); ok && k.now().Sub(asked) < deniedFor {
			return nil, k.forbidden(who, what) // answered since the look-up
		}
		if asked, ok := k.allowed.Get(q); ok && k.now().Sub(asked) < allowedFor {
			return nil, nil
		}
		return nil, k.authorize(ctx, who, q)
	})
	select {
	case <-ctx.Done():
		return ctx.Err()
	case result := <-answer:
		return result.Err
	}
}

// authorize asks the API server and caches the answer. It fails closed: without
// an answer only an earlier "yes" counts, and only for a time.
func (k *Cluster) authorize(ctx context.Context, who access.Identity, q question) error {
	asked := k.now()
	allowed, err := k.decide(ctx, who, q.what)
	if err == nil && !allowed && k.earlier(q, asked) && !k.believed(ctx) {
		err = errAway
	}
	switch {
	case errors.Is(err, errAway):
		if k.earlier(q, asked) {
			k.metrics.decisions.WithLabelValues(byEarlier).Inc()
			return nil
		}
		k.metrics.decisions.WithLabelValues(byNobody).Inc()
		return access.ErrUnavailable
	case err != nil:
		k.metrics.decisions.WithLabelValues(byNobody).Inc()
		k.complaints.Do(func() {
			k.logger.WarnContext(ctx, "the API server cannot be asked what a caller may do", "who", who.Name, "error", err)
		})
		return access.ErrUnavailable
	}
	k.metrics.decisions.WithLabelValues(byServer).Inc()
	if allowed {
		k.allowed.Add(q, asked)
		k.denied.Remove(q)
		return nil
	}
	k.denied.Add(q, asked)
	k.allowed.Remove(q)
	// A caller that may not do it to one may not do it to all, whatever the answer was before.
	all := q
	all.what.Name = ""
	k.allowed.Remove(all)
	return k.forbidden(who, q.what)
}

// earlier reports whether the action, or the same action on all, was allowed
// within allowedHeld.
func (k *Cluster) earlier(q question, now time.Time) bool {
	all := q
	all.what.Name = ""
	for _, one := range []question{q, all} {
		if before, ok := k.allowed.Get(one); ok && now.Sub(before) < allowedHeld {
			return true
		}
	}
	return false
}

// decide is one SubjectAccessReview, within the limits for the caller and for all.
func (k *Cluster) decide(ctx context.Context, who access.Identity, what access.Action) (allowed bool, err error) {
	own, known := k.askers.Get(who.Name)
	if !known {
		own = rate.NewLimiter(askerPerSecond, askerAtOnce)
		k.askers.Add(who.Name, own)
	}
	if !k.reach.away.Load() { // otherwise the server is not asked
		if err := askOnce(ctx, own, func(context.Context) error { return nil }); err != nil {
			return false, err
		}
	}
	err = k.ask(ctx, k.decisions, func(ctx context.Context) error {
		allowed, err = k.subjectAccessReview(ctx, who, what)
		return err
	})
	return allowed, err
}

func (k *Cluster) subjectAccessReview(ctx context.Context, who access.Identity, what access.Action) (allowed bool, err error) {
	review, err := k.client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User: who.Name, Groups: who.Groups,
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: k.namespace, Group: access.Group, Verb: what.Verb, Resource: what.Resource, Name: what.Name,
			},
		},
	}, metav1.CreateOptions{})
	return err == nil && review.Status.Allowed && !review.Status.Denied, err
}

// forbidden makes an error that says how to grant the permission.
func (k *Cluster) forbidden(who access.Identity, what access.Action) error {
	var grant strings.Builder
	if what.Resource == access.Packages {
		fmt.Fprintf(&grant, "kubectl -n %s create role ROLE --verb=%s --resource=%s.%s", k.namespace, what.Verb, what.Resource, access.Group)
		if what.Name != "" {
			fmt.Fprintf(&grant, " --resource-name=%s", what.Name)
		}
	} else {
		fmt.Fprintf(&grant, "create a Role in the namespace %s with {apiGroups: [%s], resources: [%s], verbs: [%s]", k.namespace, access.Group, what.Resource, what.Verb)
		if what.Name != "" {
			fmt.Fprintf(&grant, ", resourceNames: [%s]", what.Name)
		}
		grant.WriteString("}")
	}
	if namespace, name, ok := strings.Cut(strings.TrimPrefix(who.Name, serviceAccountPrefix), ":"); ok && strings.HasPrefix(who.Name, serviceAccountPrefix) {
		fmt.Fprintf(&grant, "; kubectl -n %s create rolebinding BINDING --role=ROLE --serviceaccount=%s:%s", k.namespace, namespace, name)
	}
	return &access.ForbiddenError{Who: who.Name, What: what, Grant: grant.String()}
}
