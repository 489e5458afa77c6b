package wire

import (
	"net/url"
	"strconv"
	"time"

	"github.com/coulomb/artifact-store/pkg/registry"
)

// EventValues are the parameters of a query of the log, but for limit.
func EventValues(q registry.EventQuery) url.Values {
	values := url.Values{"after": {strconv.FormatUint(q.After, 10)}}
	for name, value := range map[string]string{"kind": joined(q.Kinds), "producer": q.Producer, "package": q.Package, "actor": q.Actor, "since": FormatTime(q.Since), "until": FormatTime(q.Until)} {
		if value != "" {
			values.Set(name, value)
		}
	}
	return values
}

// ParseEventFilter reads the parameters of EventValues, but for after.
func ParseEventFilter(values url.Values) (f registry.EventFilter, err error) {
	f.Kinds = parted(values.Get("kind"))
	f.Producer, f.Package, f.Actor = values.Get("producer"), values.Get("package"), values.Get("actor")
	if f.Since, err = ParseTime("since", values.Get("since")); err != nil {
		return f, err
	}
	if f.Until, err = ParseTime("until", values.Get("until")); err != nil {
		return f, err
	}
	return f, f.Validate()
}

// FormatTime writes a time of a query, "" for none.
func FormatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// ParseTime reads a time of a query (RFC 3339); "" is none.
func ParseTime(field, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, registry.Invalid(field, "%.60q is not a time such as 2026-01-31T08:00:00Z (RFC 3339)", text)
	}
	return t, nil
}
