package shares

import "context"

// Source is where bytes come from that are read into something scarce.
type Source interface {
	// Hurry asks it for at least rate, in bytes per second, from when crowded is
	// closed on, after some seconds of grace: below that, reading fails. leave ends
	// it. Both are called by the goroutine that reads, one Hurry at a time.
	Hurry(crowded <-chan struct{}, rate int64) (leave func())
}

type sourceKey struct{}

// WithSource says from where the bytes of this context come; nil for from here.
func WithSource(ctx context.Context, source Source) context.Context {
	return context.WithValue(ctx, sourceKey{}, source)
}

// Hurry asks the source that WithSource named, if any.
func Hurry(ctx context.Context, crowded <-chan struct{}, rate int64) (leave func()) {
	if source, _ := ctx.Value(sourceKey{}).(Source); source != nil {
		return source.Hurry(crowded, rate)
	}
	return func() {}
}
