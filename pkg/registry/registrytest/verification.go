package registrytest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/registry/verify"
)

var verificationCases = []testCase{
	{"verify intact", verifyIntact},
	{"verify damaged", verifyDamaged},
	{"verify with options that are none", verifyOptions},
	{"verify a rolling share", verifyRolling},
	{"verify what failed", verifyFailed},
	{"verify from elsewhere", verifyElsewhere},
	{"list locations", listLocations},
	{"record findings", recordFindings},
	{"findings that are refused", refusedFindings},
	{"findings that hold no longer", supersededFindings},
}

func verifyIntact(s suite) {
	s.push(version("1"), file{"a", "a", false}, file{"b", "b", false})
	var told []registry.VerifyReport
	report, err := s.r.VerifyBackend(s.ctx, First, registry.VerifyOptions{}, func(r registry.VerifyReport) { told = append(told, r) })
	s.must(err)
	if !report.Done || report.Objects != 3 || report.CheckedObjects != 3 || report.Verified != 3 || report.Corrupt+report.Missing+report.Unreachable != 0 {
		s.Fatalf("got %+v, want 3 objects intact", report)
	}
	if len(told) == 0 || !told[len(told)-1].Done {
		s.Fatalf("told %+v, want a last report that is done", told)
	}
	status, err := s.r.GetBackend(s.ctx, First)
	s.must(err)
	equal(s, "verified", status.Verified, "True")
	equal(s, "last verified", status.Findings.LastVerified.IsZero(), false)
	empty, err := s.r.VerifyBackend(s.ctx, Second, registry.VerifyOptions{}, nil)
	s.must(err)
	equal(s, "objects of an empty backend", empty.Objects, 0)
}

func verifyDamaged(s suite) {
	s.push(version("1"), file{"a", "damaged", false}, file{"b", "removed", false}, file{"c", "intact", false})
	damaged, removed := digest.Of([]byte("damaged")).SHA256, digest.Of([]byte("removed")).SHA256
	s.Damage(s.T, damaged)
	s.Remove(s.T, removed)
	report, err := s.r.VerifyBackend(s.ctx, First, registry.VerifyOptions{}, nil)
	s.must(err)
	if !report.Done || report.Corrupt != 1 || report.Missing != 1 || report.Verified != 2 || len(report.Failed) != 2 {
		s.Fatalf("got %+v, want 1 corrupt, 1 missing and 2 intact", report)
	}
	for _, failed := range report.Failed {
		want := map[digest.Digest]string{damaged: "corrupt", removed: "missing"}[failed.SHA256]
		equal(s, failed.SHA256.String(), failed.Reason, want)
	}
	status, err := s.r.GetBackend(s.ctx, First)
	s.must(err)
	equal(s, "verified", status.Verified, "False")
	equal(s, "failed", status.Findings.Failed, 2)
	equal(s, "failed by name", len(status.Findings.Failures), 2)
	for _, f := range status.Findings.Failures {
		equal(s, f.SHA256.String(), f.Reason, map[digest.Digest]string{damaged: "corrupt", removed: "missing"}[f.SHA256])
	}
	health, err := s.r.Health(s.ctx)
	s.must(err)
	equal(s, "health", health.Status, registry.HealthDegraded)
	s.listedAsDamaged(damaged, removed)
	for _, name := range []digest.Digest{damaged, removed} {
		body, _, err := s.r.OpenBlob(s.ctx, name, nil)
		if err == nil {
			body.Close() //nolint:errcheck // it is an error that it is open
		}
		s.is(err, registry.ErrFailedLocation)
	}
	equal(s, "the intact one", s.read(digest.Of([]byte("intact")).SHA256, nil), "intact")

	// The bytes that failed are asked for again, and heal: under another version …
	upload := s.open(version("2"))
	equal(s, "asked for", fmt.Sprint(s.declare(upload.ID, []file{{"a", "damaged", false}, {"c", "intact", false}}).Send), "[a]")
	s.push(version("2"), file{"a", "damaged", false}, file{"c", "intact", false})
	equal(s, "healed", s.read(damaged, nil), "damaged")

	// … and under the same, which is no new publication but an event of its own.
	before, err := s.r.LogHead(s.ctx)
	s.must(err)
	s.push(version("1"), file{"a", "damaged", false}, file{"b", "removed", false}, file{"c", "intact", false})
	equal(s, "healed", s.read(removed, nil), "removed")
	page, err := s.r.ReadEvents(s.ctx, registry.EventQuery{After: before.Position})
	s.must(err)
	if len(page.Events) != 1 || page.Events[0].Kind != "v1.storage.location_added" {
		s.Fatalf("got %+v, want one v1.storage.location_added", page.Events)
	}
	health, err = s.r.Health(s.ctx)
	s.must(err)
	equal(s, "health", health.Status, registry.HealthOK)
	left, err := s.r.ListDamaged(s.ctx, registry.DamageFilter{})
	s.must(err)
	equal(s, "damaged files", len(left.Damaged), 0)
}

func verifyOptions(s suite) {
	for field, o := range map[string]registry.VerifyOptions{
		"mode":            {Mode: "half"},
		"rollingPeriod":   {Mode: verify.Rolling, RollingPeriod: time.Millisecond},
		"rollingInterval": {Mode: verify.Rolling, RollingInterval: -time.Hour},
		"concurrency":     {Concurrency: verify.MaxConcurrency + 1},
		"bandwidth":       {Bandwidth: 1},
		"timeLimit":       {TimeLimit: time.Nanosecond},
	} {
		_, err := s.r.VerifyBackend(s.ctx, First, o, nil)
		s.invalid(err, field)
	}
	_, err := s.r.VerifyBackend(s.ctx, First, registry.VerifyOptions{RollingPeriod: time.Hour}, nil)
	s.invalid(err, "mode")
	s.push(version("1"), file{"a", "a", false})
	report, err := s.r.VerifyBackend(s.ctx, First, registry.VerifyOptions{Concurrency: 1, Bandwidth: 1 << 20, TimeLimit: time.Hour}, nil)
	s.must(err)
	if !report.Done || report.Mode != verify.Full || report.Verified != 2 || report.TimeLimitReached {
		s.Fatalf("got %+v, want 2 objects intact", report)
	}
}

// verifyRolling reads a tenth a day, and so everything in ten days.
func verifyRolling(s suite) {
	const day = 24 * time.Hour
	var files []file
	for i := range 19 {
		files = append(files, file{fmt.Sprint(i), fmt.Sprint("content ", i), false})
	}
	s.push(version("1"), files...)
	rolling := registry.VerifyOptions{Mode: verify.Rolling, RollingPeriod: 10 * day, RollingInterval: day}
	report, err := s.r.VerifyBackend(s.ctx, First, rolling, nil)
	s.must(err)
	equal(s, "read of what was never verified", report.Verified, 20)
	oldest := s.oldest()
	for range 10 {
		s.Advance(day)
		report, err = s.r.VerifyBackend(s.ctx, First, rolling, nil)
		s.must(err)
		if !report.Done || report.Objects != 20 || report.Verified < 2 || report.Verified > 3 {
			s.Fatalf("got %+v, want a tenth of 20 objects", report)
		}
	}
	if now := s.oldest(); !now.After(oldest) {
		s.Fatalf("after ten days one was still verified at %s", now)
	}
	// What is new is read at once, and beside the share.
	s.push(version("2"), file{"new", "new", false})
	report, err = s.r.VerifyBackend(s.ctx, First, rolling, nil)
	s.must(err)
	if report.Verified < 4 || report.Verified > 5 {
		s.Fatalf("got %+v, want two new ones and a tenth of 22", report)
	}
	// Runs that were missed are made up for.
	s.Advance(20 * day)
	report, err = s.r.VerifyBackend(s.ctx, First, rolling, nil)
	s.must(err)
	equal(s, "read of what is due", report.Verified, 22)
}

// oldest is when the location was verified that was verified longest ago.
func (s suite) oldest() time.Time {
	s.Helper()
	backend, err := s.r.GetBackend(s.ctx, First)
	s.must(err)
	return backend.Findings.OldestVerified
}

func verifyFailed(s suite) {
	s.push(version("1"), file{"a", "damaged", false}, file{"b", "intact", false})
	damaged := digest.Of([]byte("damaged")).SHA256
	failed := registry.VerifyOptions{Mode: verify.Failed}
	report, err := s.r.VerifyBackend(s.ctx, First, failed, nil)
	s.must(err)
	equal(s, "failed before", report.Objects, 0)
	s.Damage(s.T, damaged)
	_, err = s.r.VerifyBackend(s.ctx, First, registry.VerifyOptions{}, nil)
	s.must(err)
	s.Damage(s.T, damaged) // the same bit: it is right again
	report, err = s.r.VerifyBackend(s.ctx, First, failed, nil)
	s.must(err)
	if !report.Done || report.Objects != 1 || report.CheckedObjects != 1 || report.Verified != 1 {
		s.Fatalf("got %+v, want the one that failed, right again", report)
	}
	equal(s, "restored", s.read(damaged, nil), "damaged")
}

// elsewhere is a run by someone who reaches First's bytes and this registry.
func (s suite) elsewhere(ctx context.Context, o registry.VerifyOptions, progress func(registry.VerifyReport)) (registry.VerifyReport, error) {
	s.Helper()
	page, err := s.r.ListLocations(ctx, First, registry.LocationQuery{Limit: 1})
	s.must(err)
	return verify.Run(ctx, verify.Task{
		Ledger: registry.NewLedger(s.r, page.BackendID), Source: s.Store, Options: o, Progress: progress,
		Same: func(ctx context.Context) error {
			return registrar.CheckMarker(ctx, s.Store, registrar.Owner{LogID: page.LogID, BackendID: page.BackendID, Name: page.Backend})
		},
	})
}

func verifyElsewhere(s suite) {
	var files []file
	for i := range 20 {
		files = append(files, file{fmt.Sprint(i), fmt.Sprint("content ", i), false})
	}
	published := time.Now()
	s.push(version("1"), files...)
	waiting := func() time.Time {
		backend, err := s.r.GetBackend(s.ctx, First)
		s.must(err)
		return backend.Findings.WaitingSince
	}
	since := waiting()
	if since.Before(published.Add(-time.Second)) || since.After(time.Now()) {
		s.Fatalf("something waits since %s, it was stored at %s", since, published)
	}
	damaged, removed := digest.Of([]byte("content 3")).SHA256, digest.Of([]byte("content 4")).SHA256
	s.Damage(s.T, damaged)
	s.Remove(s.T, removed)

	// A run that is told to end in the middle has recorded what it found.
	ctx, cancel := context.WithCancel(s.ctx)
	report, err := s.elsewhere(ctx, registry.VerifyOptions{Concurrency: 1}, func(r registry.VerifyReport) {
		if r.CheckedObjects == 7 {
			cancel()
		}
	})
	s.is(err, context.Canceled)
	if report.Done || report.Error == "" || report.CheckedObjects != 7 {
		s.Fatalf("got %+v, want a run that ended after 7", report)
	}
	before, err := s.r.ListLocations(s.ctx, First, registry.LocationQuery{})
	s.must(err)
	never := slices.IndexFunc(before.Locations, func(l verify.Location) bool { return !l.Verified.IsZero() })
	equal(s, "not looked at yet, and first", never, 14)
	equal(s, "waits since it was stored", waiting(), since)

	// The next one goes on there, and comes to the end.
	var first int64
	report, err = s.elsewhere(s.ctx, registry.VerifyOptions{}, func(r registry.VerifyReport) { first = max(first, r.Objects) })
	s.must(err)
	if !report.Done || report.Corrupt != 1 || report.Missing != 1 || report.Verified != 19 || first != 21 {
		s.Fatalf("got %+v, want 1 corrupt, 1 missing and 19 intact", report)
	}
	backend, err := s.r.GetBackend(s.ctx, First)
	s.must(err)
	equal(s, "failed", backend.Findings.Failed, 2)
	equal(s, "live", backend.Findings.Live, 19)
	equal(s, "all were looked at", backend.Findings.OldestVerified.IsZero(), false)
	equal(s, "waits since it was verified", waiting().After(since), true)
}

func listLocations(s suite) {
	s.push(version("1"), file{"a", "a", false}, file{"b", "bb", false}, file{"c", "ccc", false})
	head, err := s.r.LogHead(s.ctx)
	s.must(err)
	var all []verify.Location
	pages := 0
	for query := (registry.LocationQuery{Limit: 2}); ; pages++ {
		page, err := s.r.ListLocations(s.ctx, First, query)
		s.must(err)
		equal(s, "log", page.LogID, head.LogID)
		equal(s, "position", page.Position, head.Position)
		equal(s, "backend", page.Backend, First)
		if pages == 0 {
			equal(s, "objects", page.Objects, 4)
		} else {
			equal(s, "objects", page.Objects, 0)
		}
		all = append(all, page.Locations...)
		if query.After = page.Next; page.Next == "" {
			break
		}
	}
	equal(s, "locations", len(all), 4)
	sizes := map[digest.Dual]int64{}
	for _, l := range all {
		sizes[l.Digests] = l.Size
		equal(s, "never verified", l.Verified.IsZero(), true)
	}
	equal(s, "size", sizes[digest.Of([]byte("ccc"))], 3)

	// What is found while someone lists does not come again.
	page, err := s.r.ListLocations(s.ctx, First, registry.LocationQuery{Limit: 2})
	s.must(err)
	_, err = s.r.RecordFindings(s.ctx, First, registry.VerifyFindings{Position: page.Position, Verified: []digest.Digest{page.Locations[0].Digests.SHA256, page.Locations[1].Digests.SHA256}})
	s.must(err)
	rest, err := s.r.ListLocations(s.ctx, First, registry.LocationQuery{After: page.Next})
	s.must(err)
	equal(s, "the rest", len(rest.Locations), 2)
	equal(s, "the end", rest.Next, "")
	again, err := s.r.ListLocations(s.ctx, First, registry.LocationQuery{})
	s.must(err)
	equal(s, "first, as never verified", again.Locations[0].Digests, rest.Locations[0].Digests)
	equal(s, "last", again.Locations[3].Verified.IsZero(), false)

	for _, after := range []string{"x", "e30", page.Next + "A"} {
		_, err = s.r.ListLocations(s.ctx, First, registry.LocationQuery{After: after})
		s.invalid(err, "after")
	}
	_, err = s.r.ListLocations(s.ctx, First, registry.LocationQuery{Limit: -1})
	s.invalid(err, "limit")
	_, err = s.r.ListLocations(s.ctx, First, registry.LocationQuery{Limit: registry.MaxLocationPage + 1})
	s.invalid(err, "limit")
	empty, err := s.r.ListLocations(s.ctx, Second, registry.LocationQuery{})
	s.must(err)
	equal(s, "locations of an empty backend", len(empty.Locations), 0)
	for _, name := range []string{"third", "a/b", "..", ""} {
		_, err = s.r.ListLocations(s.ctx, name, registry.LocationQuery{})
		s.is(err, registry.ErrNotFound)
		_, err = s.r.RecordFindings(s.ctx, name, registry.VerifyFindings{Verified: []digest.Digest{digest.Of(nil).SHA256}})
		s.is(err, registry.ErrNotFound)
	}
}
