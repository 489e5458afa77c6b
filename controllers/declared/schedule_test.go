package declared

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestParseSchedule(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text, zone, spec string
		gap              time.Duration
	}{
		{"0 3 * * *", "Etc/UTC", "0 3 * * *", 24 * time.Hour},
		{"0 3 * * *", "Europe/Berlin", "0 3 * * *", 25 * time.Hour}, // the night in which clocks go back
		{"0 3 * * 1-5", "Etc/UTC", "0 3 * * 1-5", 72 * time.Hour},
		{"*/5 9-17 * * MON-FRI", "Etc/UTC", "*/5 9-17 * * MON-FRI", 63*time.Hour + 5*time.Minute},
		{"* * * * *", "Etc/UTC", "* * * * *", time.Minute},
		{"0 0 1 * *", "Etc/UTC", "0 0 1 * *", 31 * 24 * time.Hour},
		{"0 0 1 JAN,JUL ?", "Etc/UTC", "0 0 1 JAN,JUL ?", 184 * 24 * time.Hour},
		{"0 0 29 2 *", "Etc/UTC", "0 0 29 2 *", 1461 * 24 * time.Hour},
		// Once published, a hash is a promise: these numbers do not change.
		{"H H * * *", "Etc/UTC", "39 14 * * *", 24 * time.Hour},
		{"H H(1-5) * * 0", "Etc/UTC", "39 5 * * 0", 7 * 24 * time.Hour},
		{"H(30-30) H * * *", "Etc/UTC", "30 14 * * *", 24 * time.Hour},
	} {
		got, err := parseSchedule(tt.text, tt.zone, "artifact-store/objects")
		if err != nil || got.Spec != tt.spec || got.gap != tt.gap {
			t.Errorf("%s, %s: %q, every %s at most (%v); want %q, %s", tt.text, tt.zone, got.Spec, got.gap, err, tt.spec, tt.gap)
		}
	}
}

func TestParseScheduleRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ text, zone, says string }{
		{"", "Etc/UTC", "five cron fields"},
		{"0 3 * *", "Etc/UTC", "five cron fields"},
		{"0 3 * * * *", "Etc/UTC", "five cron fields"},
		{"0  3 * * *", "Etc/UTC", "five cron fields"},
		{"@daily", "Etc/UTC", "five cron fields"},
		{"TZ=Etc/UTC 0 3 * * *", "Etc/UTC", "five cron fields"},
		{"0 3 H * *", "Etc/UTC", "five cron fields"},
		{"H/15 3 * * *", "Etc/UTC", "five cron fields"},
		{strings.Repeat("1,", 60) + "1 3 * * *", "Etc/UTC", "five cron fields"},
		{"60 3 * * *", "Etc/UTC", `the minute "60" must be from 0 to 59, a range or list of these, or a step: end of range (60) above maximum (59)`},
		{"0 3 * * 8", "Etc/UTC", `the day of the week "8" must be from 0 (Sunday) to 6 or SUN to SAT`},
		{"H 20-3 * * *", "Etc/UTC", `the hour "20-3" must be from 0 to 23`},
		{"H 3 * FOO *", "Etc/UTC", `the month "FOO" must be from 1 to 12 or JAN to DEC`},
		{"0 3 * XYZ *", "Etc/UTC", "schedule: "},
		{"H(5-1) 3 * * *", "Etc/UTC", "the minute H(5-1) must be a range within 0 and 59"},
		{"0 H(0-24) * * *", "Etc/UTC", "the hour H(0-24) must be a range within 0 and 23"},
		{"0 0 30 2 *", "Etc/UTC", "never occurs"},
		{"0 3 * * *", "Europe/Nowhere", "timeZone: "},
		{"0 3 * * *", "Local", "timeZone: "},
		{"0 3 * * *", "", "timeZone: "},
	} {
		if _, err := parseSchedule(tt.text, tt.zone, "k"); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%q, %q: %v; want an error that says %q", tt.text, tt.zone, err, tt.says)
		}
	}
}

// Many backends with one schedule do not begin at once.
func TestHashedSchedulesSpread(t *testing.T) {
	t.Parallel()
	const backends = 1440
	minutes, hours := map[string]int{}, map[string]int{}
	for i := range backends {
		s, err := parseSchedule("H H * * *", "Etc/UTC", fmt.Sprintf("ns/backend-%d", i))
		if err != nil {
			t.Fatal(err)
		}
		fields := strings.Fields(s.Spec)
		minutes[fields[0]]++
		hours[fields[1]]++
	}
	if len(minutes) != 60 || len(hours) != 24 {
		t.Errorf("%d minutes and %d hours of 60 and 24 are used", len(minutes), len(hours))
	}
	for minute, n := range minutes { // 24 expected; 5 standard deviations
		if n > 24+25 {
			t.Errorf("%d of %d begin at minute %s", n, backends, minute)
		}
	}
}

func BenchmarkParseSchedule(b *testing.B) {
	for b.Loop() {
		if _, err := parseSchedule("* * * * *", "Etc/UTC", "ns/b"); err != nil {
			b.Fatal(err)
		}
	}
}
