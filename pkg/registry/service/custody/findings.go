package custody

import (
	"context"
	"fmt"
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
		page.Position = head.Position
		var last *view.ToCheck
		if after == nil {
			// What is found from here on does not come again, so the listing ends.
			after = &registry.LocationCursor{UpTo: head.Position}
			if page.Objects, page.Bytes, err = view.CountLocations(ctx, tx, backend.ID, query.Failed); err != nil {
				return err
			}
		} else {
			last = &view.ToCheck{Checked: after.Checked, Blob: view.Blob{Digests: digest.Dual{SHA256: after.SHA256}}}
		}
		found, err := view.ListToCheck(ctx, tx, backend.ID, query.Failed, after.UpTo, last, limit+1)
		if err != nil {
			return err
		}
		page.Locations = make([]verify.Location, 0, min(limit, len(found)))
		for i, f := range found {
			if i == limit {
				end := found[limit-1]
				page.Next = registry.LocationCursor{UpTo: after.UpTo, Checked: end.Checked, SHA256: end.Digests.SHA256}.String()
				break
			}
			page.Locations = append(page.Locations, verify.Location{Want: verify.Want{Digests: f.Digests, Size: f.Size}, Verified: f.CheckedAt})
		}
		return nil
	})
	return page, err
}

// RecordFindings implements Verifications. Who reports is trusted with what he
// saw, and with nothing more: he says it of locations of this backend, as they
// were listed.
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
			return nil, registry.Invalid("position", "%d lies past the head of the log, %d", found.Position, head.Position)
		}
		standings, err := view.FindStandings(ctx, tx, backend.ID, digests)
		if err != nil {
			return nil, err
		}
		payloads, holding, err := eventsOf(found, backend.ID, standings)
		if err != nil {
			return nil, err
		}
		recorded = registry.RecordedFindings{Recorded: holding, Superseded: len(digests) - holding}
		return event.NewAll(registry.ActorOf(ctx), payloads)
	})
	if err != nil {
		return registry.RecordedFindings{}, err
	}
	return recorded, nil
}

// eventsOf turns findings into events, but for those that hold no longer: bytes
// that were stored after the location was listed are not those that were read,
// and what someone found after it is newer than this, or the same report again.
func eventsOf(found registry.VerifyFindings, backendID string, standings map[digest.Digest]view.Standing) (payloads []event.Payload, holding int, err error) {
	holds := func(field string, i int, d digest.Digest) bool {
		standing, there := standings[d]
		if !there && err == nil {
			err = registry.Invalid(fmt.Sprintf("%s[%d]", field, i), "%s has no location in this backend", d)
		}
		return there && max(standing.Changed, standing.Checked) <= found.Position
	}
	intact := event.LocationVerified{BackendID: backendID}
	for i, d := range found.Verified {
		if holds("verified", i, d) {
			intact.SHA256 = append(intact.SHA256, d.Bytes())
		}
	}
	if holding = len(intact.SHA256); holding > 0 {
		payloads = append(payloads, intact)
	}
	for i, f := range found.Failed {
		if holds("failed", i, f.SHA256) {
			holding++
			payloads = append(payloads, event.LocationFailed{BackendID: backendID, SHA256: f.SHA256.Bytes(), Reason: f.Reason, Detail: f.Detail})
		}
	}
	return payloads, holding, err
}

// validateFindings checks what can be checked without the log, and lists the digests.
func validateFindings(found registry.VerifyFindings) ([]digest.Digest, error) {
	switch n, m := len(found.Verified), len(found.Failed); {
	case n > verify.MaxVerified:
		return nil, registry.Invalid("verified", "must be at most %d, are %d", verify.MaxVerified, n)
	case m > verify.MaxFailed:
		return nil, registry.Invalid("failed", "must be at most %d, are %d", verify.MaxFailed, m)
	case n+m == 0:
		return nil, registry.Invalid("verified", "must not be empty where failed is: nothing is no finding")
	}
	var digests []digest.Digest
	seen := make(map[digest.Digest]bool, len(found.Verified)+len(found.Failed))
	add := func(field string, d digest.Digest) error {
		if d.Algorithm() != digest.SHA256 {
			return registry.Invalid(field, "must be sha256:… of a blob")
		}
		if seen[d] {
			return registry.Invalid(field, "%s is there twice", d)
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
		if len(f.Detail) > verify.MaxDetail || !utf8.ValidString(f.Detail) {
			return nil, registry.Invalid(field+".detail", "must be at most %d bytes of UTF-8", verify.MaxDetail)
		}
	}
	return digests, nil
}
