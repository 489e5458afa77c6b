package declared

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // images have no time zones

	"github.com/robfig/cron/v3"
)

// Schedule is a spec.verification.schedule as it is followed.
type Schedule struct {
	// spec has numbers where H stood.
	Spec string
	Zone *time.Location
	runs cron.Schedule
	// gap is the longest time between two runs.
	gap time.Duration
}

// hashed is H, or H(from-to).
var hashed = regexp.MustCompile(`^H(?:\(([0-9]{1,2})-([0-9]{1,2})\))?$`)

// scheduleShape is what the schema asks of one.
var scheduleShape = regexp.MustCompile(`^((H|H\([0-9]{1,2}-[0-9]{1,2}\)|[0-9*,/-]+) ){2}[0-9*,/?-]+ [0-9A-Za-z*,/-]+ [0-9A-Za-z*,/?-]+$`)

// cronFields are those of a schedule, and what each takes. In those with most H
// may stand for a number up to it.
var cronFields = []struct {
	name, from string
	most       int
	alone      cron.ParseOption
}{
	{"minute", "0 to 59", 59, cron.Minute},
	{"hour", "0 to 23", 23, cron.Hour},
	{"day of the month", "1 to 31", 0, cron.Dom},
	{"month", "1 to 12 or JAN to DEC", 0, cron.Month},
	{"day of the week", "0 (Sunday) to 6 or SUN to SAT", 0, cron.Dow},
}

const (
	minSchedule, maxSchedule = 9, 128 // characters
	// defaultTimeZone is the schema's, too.
	defaultTimeZone = "Etc/UTC"
)

// parseSchedule reads a schedule. key is namespace and name of what it
// belongs to: H is always the same number for it. Errors name the field.
func parseSchedule(text, zone, key string) (Schedule, error) {
	if len(text) < minSchedule || len(text) > maxSchedule || !scheduleShape.MatchString(text) {
		return Schedule{}, fmt.Errorf("schedule: %.40q must be five cron fields separated by single spaces: minute, hour, day of the month, month, day of the week; minute and hour may be H or a range such as H(0-5)", text)
	}
	location, err := time.LoadLocation(zone)
	if err != nil || zone == "" || zone == "Local" {
		return Schedule{}, fmt.Errorf("timeZone: %.70q must be the name of a time zone such as Europe/Berlin, but not Local", zone)
	}
	fields := strings.Split(text, " ")
	for i, field := range cronFields {
		if field.most > 0 {
			if fields[i], err = hashField(fields[i], key+" "+field.name, field.most); err != nil {
				return Schedule{}, fmt.Errorf("schedule: the %s %w", field.name, err)
			}
		}
		if _, err := cron.NewParser(field.alone).Parse(fields[i]); err != nil {
			return Schedule{}, fmt.Errorf("schedule: the %s %.40q must be from %s, a range or list of these, or a step: %w", field.name, fields[i], field.from, err)
		}
	}
	s := Schedule{Spec: strings.Join(fields, " "), Zone: location}
	// The parser of Kubernetes itself: what it takes, the API server takes.
	if s.runs, err = cron.ParseStandard(s.Spec); err != nil {
		return Schedule{}, fmt.Errorf("schedule: %w", err)
	}
	if s.gap = gaps.of(s); s.gap == 0 {
		return Schedule{}, fmt.Errorf("schedule: %q never occurs", s.Spec)
	}
	return s, nil
}

// Next returns the first run after a time. If the clocks skip the only run of a
// day, it comes when they have skipped it.
func (s Schedule) Next(after time.Time) time.Time { return s.next(after, true) }

// next goes from one change of the clocks to the next. In between a day is as
// long as cron takes it to be; over a change of half an hour, as on Lord Howe
// Island, cron.Schedule leaves out days.
func (s Schedule) next(after time.Time, lost bool) time.Time {
	for within := after.In(s.Zone); ; {
		_, offset := within.Zone()
		_, change := within.ZoneBounds()
		next := s.runs.Next(after.In(time.FixedZone("", offset)))
		if next.IsZero() || change.IsZero() || next.Before(change) {
			return next.In(s.Zone)
		}
		if lost && s.loses(change, offset) {
			return change
		}
		after, within = change.Add(-time.Second), change
	}
}

// loses reports whether the clocks skip the only run of a day when they change
// from that offset, in seconds.
func (s Schedule) loses(change time.Time, offset int) bool {
	_, since := change.Zone()
	// As if the clocks stayed as they were.
	unchanged := change.In(time.FixedZone("", offset))
	run := s.runs.Next(unchanged.Add(-time.Second))
	if run.IsZero() || !run.Before(unchanged.Add(time.Duration(since-offset)*time.Second)) { // or they are set back
		return false
	}
	year, month, day := run.Date()
	other := s.next(time.Date(year, month, day, 0, 0, 0, 0, run.Location()).Add(-time.Second), false)
	y, m, d := other.Date()
	return y != year || m != month || d != day
}

// regular is Next as Kubernetes has it: it leaves out times that the clocks
// skip, and takes both of those that they repeat.
func (s Schedule) regular(after time.Time) time.Time { return s.runs.Next(after.In(s.Zone)) }

// hashField puts a number where H stands.
func hashField(field, key string, most int) (string, error) {
	found := hashed.FindStringSubmatch(field)
	if found == nil {
		return field, nil
	}
	from, to := 0, most
	if found[1] != "" {
		from, _ = strconv.Atoi(found[1])
		to, _ = strconv.Atoi(found[2])
	}
	if from > to || to > most {
		return "", fmt.Errorf("%s must be a range within 0 and %d", field, most)
	}
	sum := sha256.Sum256([]byte(key))
	return strconv.FormatUint(uint64(from)+binary.BigEndian.Uint64(sum[:8])%uint64(to-from+1), 10), nil
}

// gapCache remembers the longest gap of schedules: it is needed at every probe.
type gapCache struct {
	mu    sync.Mutex
	known map[string]time.Duration
}

var gaps = gapCache{known: map[string]time.Duration{}}

const (
	// gapSpan is the period in which gaps are searched: a year has every month and both
	// changes of the clocks.
	gapSpan = 366 * 24 * time.Hour
	// gapRuns bounds how many: a run each minute of two weeks.
	gapRuns = 20_000
	// gapsKept bounds the cache; there is one for each backend that has a schedule.
	gapsKept = 4096
)

// gapsFrom is a Friday, so that even many runs a day reach over a weekend.
var gapsFrom = time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)

// of returns the longest time between two runs of a year, or of gapRuns runs, by
// Kubernetes' rule, which may leave out a day; 0 if there are not two.
func (c *gapCache) of(s Schedule) time.Duration {
	key := s.Zone.String() + " " + s.Spec
	c.mu.Lock()
	defer c.mu.Unlock()
	if gap, known := c.known[key]; known {
		return gap
	}
	if len(c.known) >= gapsKept {
		clear(c.known)
	}
	var longest time.Duration
	last := s.regular(gapsFrom)
	for n := 0; n < gapRuns && !last.IsZero() && (n == 0 || last.Before(gapsFrom.Add(gapSpan))); n++ {
		next := s.regular(last)
		if next.IsZero() {
			break
		}
		longest, last = max(longest, next.Sub(last)), next
	}
	c.known[key] = longest
	return longest
}
