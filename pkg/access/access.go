// Package access decides who may do what. An Authenticator says who holds a
// token, an Authorizer what the holder may do. tokenfile (a file of static
// tokens) and kubernetes (ServiceAccounts and RBAC) implement both. Guard asks
// the Authorizer before every call of a registry.
package access

import (
	"context"
	"slices"

	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// Identity is the caller.
type Identity struct {
	// Name is unique. Events are logged under it.
	Name string
	// Groups are sorted and unique.
	Groups []string
}

// Equal compares names and groups.
func (i Identity) Equal(other Identity) bool {
	return i.Name == other.Name && slices.Equal(i.Groups, other.Groups)
}

// Action is what a caller wants to do: a verb, the kind of resource, and the
// name of one resource of that kind, "" for all of them. A permission for all
// includes each of them.
type Action struct{ Verb, Resource, Name string }

// Group is the API group of the resources.
const Group = "artifactstore.dev"

// Resources. The comment says what Name is.
const (
	Packages      = "packages"      // a producer
	Events        = "events"        // none: there is one log
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

// Rules lists the verbs of each resource.
var Rules = map[string][]string{
	Packages:      {Create, Get, List, Delete},
	Events:        {Get},
	Backends:      {Get, List},
	Verifications: {Create},
	Sweeps:        {Create},
	Probes:        {Create},
}

// Authenticator says who holds a token. All methods may be called concurrently.
type Authenticator interface {
	// Authenticate returns the holder of the token: an *UnauthenticatedError if
	// the token is not valid, ErrUnavailable if this is not known at the moment.
	Authenticate(ctx context.Context, token storage.Secret) (Identity, error)
}

// Authorizer decides. All methods may be called concurrently.
type Authorizer interface {
	// Authorize returns nil if the action is allowed, a *ForbiddenError if it is
	// not, and ErrUnavailable if this is not known at the moment.
	Authorize(ctx context.Context, who Identity, what Action) error
}

// The errors that callers distinguish. They are those of the contract, which a client returns as well.
var (
	// ErrUnauthenticated: the caller is not known. Always an *UnauthenticatedError.
	ErrUnauthenticated = registry.ErrUnauthenticated
	// ErrForbidden: the caller may not do this. Always a *ForbiddenError.
	ErrForbidden = registry.ErrForbidden
	// ErrUnavailable: authentication or authorization is temporarily unavailable.
	ErrUnavailable = registry.ErrAccessUnknown
)

// UnauthenticatedError says what is wrong with the credentials. Its message is
// sent to the caller.
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
	// Grant says how to allow it, "" if that is not known.
	Grant string
}

func (e *ForbiddenError) Error() string {
	text := e.Who + " may not " + e.What.Verb + " " + e.What.Resource + "." + Group
	if e.What.Name != "" {
		text += " named " + e.What.Name
	}
	if e.Grant != "" {
		text += ". To allow it: " + e.Grant
	}
	return text
}

// Is makes it an ErrForbidden.
func (e *ForbiddenError) Is(target error) bool { return target == ErrForbidden }

type identityKey struct{}

// WithIdentity sets the caller, whose name events are logged under.
func WithIdentity(ctx context.Context, who Identity) context.Context {
	return context.WithValue(registry.WithActor(ctx, who.Name), identityKey{}, who)
}

// IdentityOf returns the caller, and whether there is one.
func IdentityOf(ctx context.Context) (Identity, bool) {
	who, ok := ctx.Value(identityKey{}).(Identity)
	return who, ok
}
