package registry

import (
	"slices"
	"strings"
	"time"
)

// EventQuery says which events are read.
type EventQuery struct {
	// After is a position: the first event that is looked at follows it.
	After uint64
	// Limit is the page's size; 0 is DefaultEventPage.
	Limit int
	EventFilter
}

// EventFilter narrows what is read of the log; empty fields match all.
type EventFilter struct {
	// Kinds are those of which an event is one: a kind, or what it begins with before a
	// dot (v1.storage).
	Kinds []string
	// Producer is that of the package or tag that an event is about; those about none do not match.
	Producer string
	// Package is a name within Producer, with or without a version: name or name@version.
	Package string
	Actor   string
	// Since and Until are times: not before Since, and before Until.
	Since, Until time.Time
}

// MaxKinds is how many kinds a filter has at most.
const MaxKinds = 32

// IsEmpty reports whether everything matches.
func (f *EventFilter) IsEmpty() bool {
	return len(f.Kinds) == 0 && f.Producer == "" && f.Package == "" && f.Actor == "" && f.Since.IsZero() && f.Until.IsZero()
}

// Validate returns an *InvalidError that names the field.
func (f *EventFilter) Validate() error {
	if len(f.Kinds) > MaxKinds {
		return Invalid("kind", "must be at most %d, are %d", MaxKinds, len(f.Kinds))
	}
	for _, kind := range f.Kinds {
		if kind == "" || len(kind) > MaxFieldLength || strings.Trim(kind, "abcdefghijklmnopqrstuvwxyz0123456789._") != "" {
			return Invalid("kind", "%.80q is not a kind of event", kind)
		}
	}
	if f.Producer != "" {
		if err := ValidateName("producer", f.Producer); err != nil {
			return err
		}
	}
	if f.Package != "" {
		if f.Producer == "" {
			return Invalid("package", "requires producer")
		}
		name, version, versioned := strings.Cut(f.Package, "@")
		if err := ValidatePackageName("package", name); err != nil {
			return err
		}
		if versioned {
			if err := ValidateVersion(version); err != nil {
				return &InvalidError{"package", err.Error()}
			}
		}
	}
	if err := validateActor(f.Actor); err != nil {
		return err
	}
	return validatePeriod(f.Since, f.Until)
}

// validateActor checks a filter for who did something; "" is no filter.
func validateActor(actor string) error {
	if len(actor) > MaxFieldLength || !IsText(actor) {
		return Invalid("actor", "%.80q must be at most %d bytes of UTF-8 without control characters", actor, MaxFieldLength)
	}
	return nil
}

func validatePeriod(since, until time.Time) error {
	if !since.IsZero() && !until.IsZero() && !since.Before(until) {
		return Invalid("until", "must be after since, %s", since.UTC().Format(time.RFC3339))
	}
	return nil
}

// Matches reports whether an event of that kind, actor, subject and time does.
func (f *EventFilter) Matches(kind, actor, subject string, at time.Time) bool {
	switch {
	case f.Actor != "" && actor != f.Actor,
		!f.Since.IsZero() && at.Before(f.Since),
		!f.Until.IsZero() && !at.Before(f.Until),
		len(f.Kinds) > 0 && !slices.ContainsFunc(f.Kinds, func(one string) bool { return kind == one || strings.HasPrefix(kind, one+".") }):
		return false
	case f.Producer == "":
		return true
	}
	rest, is := strings.CutPrefix(subject, f.Producer+"/")
	end := strings.IndexAny(rest, "@:") // of a version, or a tag
	if !is || end < 0 {
		return false
	}
	return f.Package == "" || f.Package == rest || f.Package == rest[:end]
}
