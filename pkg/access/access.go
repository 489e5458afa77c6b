// Package access says who may do what. Authenticator and Authorizer are its
// two questions, with an implementation each in tokenfile (a file of static
// tokens) and kubernetes (ServiceAccounts and RBAC). Guard asks the second one
// before every call of a registry.
package access

import (
	"context"
	"slices"

	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// Identity is who asks.
type Identity struct {
	// Name is unique, and what events are logged under.
	Name string
	// Groups in order, each once.
	Groups []string
}

// Equal compares names and groups.
func (i Identity) Equal(other Identity) bool {
	return i.Name == other.Name && slices.Equal(i.Groups, other.Groups)
}

// Action is what one wants to do: a verb, the kind of thing that it is done
// to, and the one thing of that kind, "" for all of them. Whoever may do
// something to all may do it to each.
type Action struct{ Verb, Resource, Name string }

// Group is the API group of the resources.
const Group = "artifactstore.dev"

// Resources, with what Name is.
const (
	Packages      = "packages"      // a producer
	Events        = "events"        // none: the log is one
	Backends      = "backends"      // a backend
	Verifications = "verifications" // a backend
	Sweeps        = "sweeps"        // a backend
	Probes        = "probes"        // a backend
)

// Verbs.
const (
	Create = "create"
	Get    = "get"
	List   = "list"
	Delete = "delete"
)

// Rules lists the verbs that each resource knows.
var Rules = map[string][]string{
	Packages:      {Create, Get, List, Delete},
	Events:        {Get},
	Backends:      {Get, List},
	Verifications: {Create},
	Sweeps:        {Create},
	Probes:        {Create},
}

// Authenticator finds out who holds a token. All methods may be called concurrently.
type Authenticator interface {
	// Authenticate returns whose token it is. An *UnauthenticatedError if it is
	// nobody's, ErrUnavailable if that cannot be found out now.
	Authenticate(ctx context.Context, token storage.Secret) (Identity, error)
}

// Authorizer decides. All methods may be called concurrently.
type Authorizer interface {
	// Authorize returns nil if the action is allowed, a *ForbiddenError if it is
	// not, and ErrUnavailable if that cannot be found out now.
	Authorize(ctx context.Context, who Identity, what Action) error
}

// The sentinels that callers tell apart: the contract's, which a client gives back, too.
var (
	// ErrUnauthenticated: nobody knows who asks. Always an *UnauthenticatedError.
	ErrUnauthenticated = registry.ErrUnauthenticated
	// ErrForbidden: who asks may not do it. Always a *ForbiddenError.
	ErrForbidden = registry.ErrForbidden
	// ErrUnavailable: who asks, or what he may do, cannot be found out now.
	ErrUnavailable = registry.ErrAccessUnknown
)

// UnauthenticatedError says what is wrong with the credentials, in words that
// may be shown to whoever sent them.
type UnauthenticatedError struct{ Message string }

func (e *UnauthenticatedError) Error() string { return e.Message }

// Is makes it an ErrUnauthenticated.
func (e *UnauthenticatedError) Is(target error) bool { return target == ErrUnauthenticated }

// Unauthenticated makes an *UnauthenticatedError.
func Unauthenticated(message string) error { return &UnauthenticatedError{message} }

// ForbiddenError says who may not do what.
type ForbiddenError struct {
	Who  string
	What Action
	// Grant says how it is allowed, "" if nobody can say.
	Grant string
}

func (e *ForbiddenError) Error() string {
	text := e.Who + " may not " + e.What.Verb + " " + e.What.Resource + "." + Group
	if e.What.Name != "" {
		text += " of the name " + e.What.Name
	}
	if e.Grant != "" {
		text += ". To allow it: " + e.Grant
	}
	return text
}

// Is makes it an ErrForbidden.
func (e *ForbiddenError) Is(target error) bool { return target == ErrForbidden }

type identityKey struct{}

// WithIdentity says who asks, and under which name events are logged.
func WithIdentity(ctx context.Context, who Identity) context.Context {
	return context.WithValue(registry.WithActor(ctx, who.Name), identityKey{}, who)
}

// IdentityOf returns who asks, and whether anybody has said so.
func IdentityOf(ctx context.Context) (Identity, bool) {
	who, ok := ctx.Value(identityKey{}).(Identity)
	return who, ok
}
