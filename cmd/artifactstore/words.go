package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// size writes a number of bytes as people read it.
func size(bytes int64) string {
	if bytes < 1<<10 {
		return fmt.Sprintf("%d B", bytes)
	}
	value, unit := float64(bytes), ""
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"} {
		if value < 1023.95 { // what would be written as 1024.0
			break
		}
		value, unit = value/(1<<10), next
	}
	return fmt.Sprintf("%.1f %s", value, unit)
}

// ago writes how long ago a time is.
func ago(then, now time.Time) string {
	d := now.Sub(then)
	switch {
	case d < 0:
		return "in future"
	case d < time.Minute:
		return fmt.Sprintf("%ds ago", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm ago", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh ago", d/time.Hour)
	case d < 2*365*24*time.Hour:
		return fmt.Sprintf("%dd ago", d/(24*time.Hour))
	}
	return fmt.Sprintf("%dy ago", d/(365*24*time.Hour))
}

// when is the value of a flag that takes a time: RFC 3339, a day, or how long ago.
type when struct{ at time.Time }

func (w *when) Type() string { return "time" }

func (w *when) String() string {
	if w.at.IsZero() {
		return ""
	}
	return w.at.Format(time.RFC3339)
}

func (w *when) Set(text string) (err error) {
	w.at, err = parseWhen(text, time.Now())
	return err
}

// parseWhen reads 2026-01-31T08:00:00Z, 2026-01-31 (UTC), or a span before now: 90m, 24h, 7d, 4w.
func parseWhen(text string, now time.Time) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	for unit, length := range map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
		if number, is := strings.CutSuffix(text, unit); is {
			if n, err := strconv.ParseUint(number, 10, 16); err == nil {
				return now.Add(-time.Duration(n) * length), nil //nolint:gosec // of 16 bits
			}
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	return time.Time{}, fmt.Errorf("must be a time such as 2026-01-31T08:00:00Z, a day such as 2026-01-31, or how long ago, such as 90m, 24h or 7d")
}

// describeTime is a time, and how long ago it is.
func describeTime(at time.Time) string {
	return at.UTC().Format(time.RFC3339) + " (" + ago(at, time.Now()) + ")"
}
