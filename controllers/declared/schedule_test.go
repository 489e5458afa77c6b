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
		{"0 3 * * *", "Europe/Berlin", "0 3 * * *", 25 * time.Hour},   // the night in which clocks go back
		{"30 2 * * *", "Europe/Berlin", "30 2 * * *", 47 * time.Hour}, // a CronJob skips the night in which clocks go forward
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

// TestNoDayIsLost: whatever the clocks do, each day has its run.
func TestNoDayIsLost(t *testing.T) {
	t.Parallel()
	for _, zone := range []string{"Europe/Berlin", "Africa/Cairo", "America/Santiago", "Australia/Lord_Howe", "America/Havana", "Etc/UTC", "Asia/Tokyo"} {
		for _, spec := range []string{"30 2 * * *", "0 0 * * *", "15 0 * * *", "59 23 * * *", "0 3 * * *", "10 2 * * *", "0 1 * * *", "*/20 2 * * *"} {
			s, err := parseSchedule(spec, zone, "k")
			if err != nil {
				t.Fatal(err)
			}
			runs := map[string]int{}
			year := time.Date(2027, 1, 1, 0, 0, 0, 0, s.Zone)
			for at := s.Next(year.Add(-time.Second)); at.Year() == 2027; at = s.Next(at) {
				runs[at.In(s.Zone).Format(time.DateOnly)]++
			}
			for day := year.Add(12 * time.Hour); day.Year() == 2027; day = day.AddDate(0, 0, 1) {
				if runs[day.Format(time.DateOnly)] == 0 {
					t.Errorf("%s, %s: no run on %s", spec, zone, day.Format(time.DateOnly))
				}
			}
		}
	}
}

func TestClockChanges(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ spec, zone, after, next string }{
		{"30 2 * * *", "Europe/Berlin", "2027-03-27T02:30:00+01:00", "2027-03-28T03:00:00+02:00"},
		{"30 2 * * *", "Europe/Berlin", "2027-03-28T03:00:00+02:00", "2027-03-29T02:30:00+02:00"},
		{"30 2 * * 0", "Europe/Berlin", "2027-03-21T02:30:00+01:00", "2027-03-28T03:00:00+02:00"},
		{"30 2 1 * *", "Europe/Berlin", "2027-03-01T02:30:00+01:00", "2027-04-01T02:30:00+02:00"},
		{"30 2,14 * * *", "Europe/Berlin", "2027-03-27T14:30:00+01:00", "2027-03-28T14:30:00+02:00"}, // the day has a run
		{"15 * * * *", "Europe/Berlin", "2027-03-28T01:15:00+01:00", "2027-03-28T03:15:00+02:00"},
		{"30 2 * * *", "Europe/Berlin", "2027-10-31T02:30:00+02:00", "2027-10-31T02:30:00+01:00"}, // twice
		{"0 0 * * *", "Africa/Cairo", "2027-04-29T00:00:00+02:00", "2027-04-30T01:00:00+03:00"},
		{"0 0 * * *", "America/Santiago", "2027-09-04T00:00:00-04:00", "2027-09-05T01:00:00-03:00"},
		{"0 0 * * 0", "America/Santiago", "2027-08-29T00:00:00-04:00", "2027-09-05T01:00:00-03:00"},
		{"0 5 * * 0", "America/Santiago", "2027-08-29T05:00:00-04:00", "2027-09-05T05:00:00-03:00"},
	} {
		s, err := parseSchedule(tt.spec, tt.zone, "k")
		if err != nil {
			t.Fatal(err)
		}
		after, err := time.Parse(time.RFC3339, tt.after)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Next(after).Format(time.RFC3339); got != tt.next {
			t.Errorf("%s, %s: after %s comes %s, want %s", tt.spec, tt.zone, tt.after, got, tt.next)
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
