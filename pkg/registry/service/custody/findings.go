package custody

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/event"
	"github.com/coulomb/artifact-store/pkg/registry/service/core"
	"github.com/coulomb/artifact-store/pkg/registry/verify"
	"github.com/coulomb/artifact-store/pkg/registry/view"
)

// ListLocations implements Verifications.
func (k *Keeper) ListLocations(ctx context.Context, nameOrID string, query registry.LocationQuery) (registry.LocationPage, error) {
	if query.Limit < 0 || query.Limit > registry.MaxLocationPage {
		return registry.LocationPage{}, registry.Invalid("limit", "must be from 1 to %d, is %d", registry.MaxLocationPage, query.Limit)
	}
	limit := query.Limit
	if limit == 0 {
		limit = registry.MaxLocationPage
	}
	after, err := registry.ParseLocationCursor(query.After)
	if err != nil {
		return registry.LocationPage{}, err
	}
	backend, err := k.core.FindBackend(nameOrID)
	if err != nil {
		return registry.LocationPage{}, err
	}
	page := registry.LocationPage{LogID: k.core.LogID(), Backend: backend.Name, BackendID: backend.ID}
	if backend.ID == "" {
		return page, core.Unavailable(backend)
	}
	err = k.core.Read(ctx, func(tx database.Tx) error {
		head, err := eventlog.HeadTx(ctx, tx)
		if err != nil {
			return err
		}
		last, err := view.LastChecked(ctx, tx, backend.ID)
		if err != nil {
			return err
		}
		page.Position, page.AsOf = head.Position, asOf(last)
		var behind *view.ToCheck
		if after == nil {
			// A location that is verified from here on does not come again, so the listing ends.
			after = &registry.LocationCursor{UpTo: head.Position}
			if page.Objects, page.Bytes, err = view.CountLocations(ctx, tx, backend.ID, query.Failed); err != nil {
				return err
			}
		} else {
			behind = &view.ToCheck{CheckedAt: timeOf(after.Checked), Changed: after.Changed, Blob: view.Blob{Digests: digest.Dual{SHA256: after.SHA256}}}
		}
		if after.AsOf == nil {
			us := micros(last)
			after.AsOf = &us
		}
		found, err := view.ListToCheck(ctx, tx, backend.ID, query.Failed, view.UpTo{Position: after.UpTo, Checked: timeOf(*after.AsOf)}, behind, limit+1)
		if err != nil {
			return err
		}
		page.Locations = make([]verify.Location, 0, min(limit, len(found)))
		for i, f := range found {
			if i == limit {
				end := found[limit-1]
				page.Next = registry.LocationCursor{UpTo: after.UpTo, AsOf: after.AsOf, Checked: micros(end.CheckedAt), Changed: end.Changed, SHA256: end.Digests.SHA256}.String()
				break
			}
			page.Locations = append(page.Locations, verify.Location{Want: verify.Want{Digests: f.Digests, Size: f.Size}, Verified: f.CheckedAt})
		}
		return nil
	})
	return page, err
}

// asOf is what a page says of the last finding: never empty, so that a client
// that sends it back has said it.
func asOf(last time.Time) time.Time {
	if last.IsZero() {
		return time.UnixMicro(0).UTC()
	}
	return last
}

// timeOf and micros turn the microseconds of a cursor, in which 0 is never, into times and back.
func timeOf(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

func micros(at time.Time) int64 {
	if at.IsZero() {
		return 0
	}
	return at.UnixMicro()
}

// RecordFindings implements Verifications. A client is trusted to report what it
// read, and nothing more: its findings are about locations of this backend, as
// they were listed.
func (k *Keeper) RecordFindings(ctx context.Context, nameOrID string, found registry.VerifyFindings) (registry.RecordedFindings, error) {
	digests, err := validateFindings(found)
	if err != nil {
		return registry.RecordedFindings{}, err
	}
	backend, err := k.core.FindBackend(nameOrID)
	if err != nil {
		return registry.RecordedFindings{}, err
	}
	if backend.ID == "" {
		return registry.RecordedFindings{}, core.Unavailable(backend)
	}
	var recorded registry.RecordedFindings
	err = k.core.Append(ctx, func(ctx context.Context, tx database.Tx) ([]eventlog.Event, error) {
		head, err := eventlog.HeadTx(ctx, tx)
		if err != nil {
			return nil, err
		}
		if found.Position > head.Position {
			return nil, registry.Invalid("position", "%d is past the head of the log, which is %d", found.Position, head.Position)
		}
		standings, err := view.FindStandings(ctx, tx, backend.ID, digests)
		if err != nil {
			return nil, err
		}
		news, err := judge(found, standings)
		if err != nil {
			return nil, err
		}
		recorded = registry.RecordedFindings{Recorded: len(news.holding), Superseded: len(digests) - len(news.holding)}
		payloads, err := k.account(ctx, tx, backend.ID, found, news)
		if err != nil {
			return nil, err
		}
		if err := k.observe(ctx, tx, backend.ID, news.holding, head, len(payloads) > 0); err != nil {
			return nil, err
		}
		if err := k.settle(ctx, tx, backend.ID, news, head.Position); err != nil {
			return nil, err
		}
		return event.NewAll(registry.ActorOf(ctx), payloads)
	})
	if err != nil {
		return registry.RecordedFindings{}, err
	}
	return recorded, nil
}

// observe notes that something was found of these locations: later than anything before.
func (k *Keeper) observe(ctx context.Context, tx database.Tx, backendID string, digests []digest.Digest, head eventlog.Head, logged bool) error {
	if len(digests) == 0 {
		return nil
	}
	last, err := view.LastChecked(ctx, tx, backendID)
	if err != nil {
		return err
	}
	at := k.core.Now()
	if next := last.Add(time.Microsecond); !last.IsZero() && at.Before(next) {
		at = next // clocks differ between replicas, and step back
	}
	position := head.Position
	if logged {
		position++ // these findings are an event, so they are known from it on
	}
	return view.Observe(ctx, tx, backendID, digests, position, at)
}

// news are findings that still hold, and which of them say something new.
type news struct {
	holding  []digest.Digest
	right    []digest.Digest // found right
	restored [][]byte        // of these, those that were not live
	corrupt  int64
	missing  int64
	failed   []verify.FailedLocation // which the log does not say yet
	// unreadable locations stay what they are, and become the last to be read again.
	unreadable []unreadable
}

type unreadable struct {
	verify.UnreadableLocation
	verified time.Time // when something was last found of the bytes
}

// judge leaves out findings that no longer hold: bytes that were stored after the
// location was listed are not the bytes that were read, and a later finding is
// newer, or the same report again.
func judge(found registry.VerifyFindings, standings map[digest.Digest]view.Standing) (n news, err error) {
	holds := func(field string, i int, d digest.Digest) (view.Standing, bool) {
		standing, there := standings[d]
		if !there && err == nil {
			err = registry.Invalid(fmt.Sprintf("%s[%d]", field, i), "%s has no location in this backend", d)
		}
		holding := there && max(standing.Changed, standing.Checked) <= found.Position &&
			(found.AsOf.IsZero() || !standing.CheckedAt.After(found.AsOf))
		if holding {
			n.holding = append(n.holding, d)
		}
		return standing, holding
	}
	for i, d := range found.Verified {
		if standing, holding := holds("verified", i, d); holding {
			n.right = append(n.right, d)
			if standing.State != view.StateLive {
				n.restored = append(n.restored, d.Bytes())
			}
		}
	}
	for i, f := range found.Failed {
		standing, holding := holds("failed", i, f.SHA256)
		if !holding {
			continue
		}
		if f.Reason == event.ReasonMissing {
			n.missing++
		} else {
			n.corrupt++
		}
		if standing.State != view.StateFailed || standing.Reason != f.Reason {
			f.Detail = verify.Bounded(f.Detail)
			n.failed = append(n.failed, f)
		}
	}
	for i, u := range found.Unreadable {
		if standing, holding := holds("unreadable", i, u.SHA256); holding {
			u.Detail = verify.Bounded(u.Detail)
			n.unreadable = append(n.unreadable, unreadable{u, standing.CheckedAt})
		}
	}
	return n, err
}

// validateFindings checks what can be checked without the log, and lists the digests.
func validateFindings(found registry.VerifyFindings) ([]digest.Digest, error) {
	switch n, m, u := len(found.Verified), len(found.Failed), len(found.Unreadable); {
	case n > verify.MaxVerified:
		return nil, registry.Invalid("verified", "must be at most %d, are %d", verify.MaxVerified, n)
	case m > verify.MaxFailed:
		return nil, registry.Invalid("failed", "must be at most %d, are %d", verify.MaxFailed, m)
	case u > verify.MaxFailed:
		return nil, registry.Invalid("unreadable", "must be at most %d, are %d", verify.MaxFailed, u)
	case n+m+u == 0 && !(found.End && found.Run != ""):
		return nil, registry.Invalid("verified", "must not be empty if failed is empty")
	case len(found.Run) > verify.MaxRun || !registry.IsText(found.Run):
		return nil, registry.Invalid("run", "must be at most %d bytes of UTF-8 without control characters", verify.MaxRun)
	case found.End && found.Run == "":
		return nil, registry.Invalid("end", "requires a run")
	}
	var digests []digest.Digest
	seen := make(map[digest.Digest]bool, len(found.Verified)+len(found.Failed))
	add := func(field string, d digest.Digest) error {
		if d.Algorithm() != digest.SHA256 {
			return registry.Invalid(field, "must be the sha256:… of a blob")
		}
		if seen[d] {
			return registry.Invalid(field, "%s occurs twice", d)
		}
		seen[d] = true
		digests = append(digests, d)
		return nil
	}
	for i, d := range found.Verified {
		if err := add(fmt.Sprintf("verified[%d]", i), d); err != nil {
			return nil, err
		}
	}
	for i, f := range found.Failed {
		field := fmt.Sprintf("failed[%d]", i)
		if err := add(field+".sha256", f.SHA256); err != nil {
			return nil, err
		}
		if f.Reason != event.ReasonCorrupt && f.Reason != event.ReasonMissing {
			return nil, registry.Invalid(field+".reason", "%.40q must be %s or %s", f.Reason, event.ReasonCorrupt, event.ReasonMissing)
		}
		if err := validateDetail(field, f.Detail); err != nil {
			return nil, err
		}
	}
	for i, u := range found.Unreadable {
		field := fmt.Sprintf("unreadable[%d]", i)
		if err := add(field+".sha256", u.SHA256); err != nil {
			return nil, err
		}
		if err := validateDetail(field, u.Detail); err != nil {
			return nil, err
		}
	}
	return digests, nil
}

func validateDetail(field, detail string) error {
	if len(detail) > verify.MaxDetail || !utf8.ValidString(detail) || strings.ContainsRune(detail, 0) {
		return registry.Invalid(field+".detail", "must be at most %d bytes of UTF-8", verify.MaxDetail)
	}
	return nil
}
