package registry

import "context"

// Callers tells callers about themselves, and about nobody else.
type Callers interface {
	// WhoAmI says who the caller is and what they may do. Everybody who is known
	// may ask. If producer is not "", what they may do with its packages is in the
	// answer, whether it has packages or not. ErrUnauthenticated, ErrAccessUnknown.
	WhoAmI(ctx context.Context, producer string) (Caller, error)
}

// Caller is who sent a request.
type Caller struct {
	// Name that their events are logged under.
	Name string `json:"name"`
	// Groups that they are in, sorted; permissions may come from them.
	Groups []string `json:"groups"`
	// Authenticated is false where the registry asks nobody who they are.
	Authenticated bool `json:"authenticated"`
	// Permissions of the caller. A resource may occur several times, for different names.
	Permissions []Permission `json:"permissions"`
	// Complete: there are no other permissions. Otherwise there may be some for
	// single producers and backends that the registry does not look at by itself.
	Complete bool `json:"complete"`
}

// Permission allows verbs on a resource; "*" stands for every verb or resource.
type Permission struct {
	Resource string   `json:"resource"`
	Verbs    []string `json:"verbs"`
	// Names of producers or backends that it is for. They may be patterns; none means all.
	Names []string `json:"names,omitempty"`
}

// Unguarded is the Caller of a registry that lets everybody do everything.
func Unguarded(ctx context.Context, producer string) (Caller, error) {
	if producer != "" {
		if err := ValidateName("producer", producer); err != nil {
			return Caller{}, err
		}
	}
	return Caller{
		Name: ActorOf(ctx), Groups: []string{}, Complete: true,
		Permissions: []Permission{{Resource: "*", Verbs: []string{"*"}}},
	}, nil
}
