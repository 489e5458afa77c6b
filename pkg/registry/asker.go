package registry

import "context"

type actorKey struct{}

// Anonymous is the actor where none was set.
const Anonymous = "anonymous"

// WithActor names the caller, under whose name events are logged.
func WithActor(ctx context.Context, actor string) context.Context {
	return context.WithValue(ctx, actorKey{}, actor)
}

// ActorOf returns the actor that WithActor named, or Anonymous.
func ActorOf(ctx context.Context) string {
	if actor, ok := ctx.Value(actorKey{}).(string); ok && actor != "" {
		return actor
	}
	return Anonymous
}

type holderKey struct{}

// WithHolder names a producer whose package has the requested blob, as far as the
// caller knows. It is a hint for the access decision and grants nothing.
func WithHolder(ctx context.Context, producer string) context.Context {
	return context.WithValue(ctx, holderKey{}, producer)
}

// HolderOf returns the producer that WithHolder named, "" if none.
func HolderOf(ctx context.Context) string {
	producer, _ := ctx.Value(holderKey{}).(string)
	return producer
}
