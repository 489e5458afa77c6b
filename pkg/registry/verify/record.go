package verify

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// found takes a result. An error is reason to end the run.
func (r *run) found(ctx context.Context, result outcome) error {
	if result.Finding == Unreadable && r.Unread != nil {
		r.Unread(result.Result)
	}
	if result.Finding != Intact {
		if err := r.Same(ctx); err != nil {
			return err // it is the place, not the blob
		}
	}
	defer r.tell()
	if result.Finding == Unreadable {
		return r.unreadable(ctx, result)
	}
	r.report.CheckedObjects++
	r.report.CheckedBytes += result.Size
	r.pending.as(result.listed)
	switch result.Finding {
	case Intact:
		r.report.Verified++
		r.pending.Verified = append(r.pending.Verified, result.Digests.SHA256)
		if len(r.pending.Verified) < MaxVerified {
			return nil
		}
	case Missing:
		r.report.Missing++
		r.failed(result)
	default:
		r.report.Corrupt++
		r.failed(result)
	}
	return r.flush(ctx)
}

func (f *Found) none() bool { return len(f.Verified)+len(f.Failed)+len(f.Unreadable) == 0 }

// as makes it no newer than a page of which it will have a finding.
func (f *Found) as(page listed) {
	none := f.none()
	if none || page.position < f.Position {
		f.Position = page.position
	}
	if none || page.asOf.Before(f.AsOf) {
		f.AsOf = page.asOf
	}
}

func (r *run) failed(result outcome) {
	failure := FailedLocation{SHA256: result.Digests.SHA256, Reason: string(result.Finding), Detail: Bounded(result.Detail)}
	r.pending.Failed = append(r.pending.Failed, failure)
	if len(r.report.Failed) < maxReportedFailures {
		r.report.Failed = append(r.report.Failed, failure)
	}
}

// unreadable keeps a result for the end: what is recorded last is read last by the
// next run, so that objects which take long to fail keep nobody from the others.
func (r *run) unreadable(ctx context.Context, result outcome) error {
	r.report.Unreachable++
	r.unread.as(result.listed)
	r.unread.Unreadable = append(r.unread.Unreadable, UnreadableLocation{result.Digests.SHA256, Bounded(result.Detail)})
	if len(r.unread.Unreadable) < maxUnread {
		return nil
	}
	return r.flushUnread(ctx, false)
}

// Bounded is what of a detail may be recorded: it may name a long path, and what
// a terminal would obey or hide is kept for ever, so it is escaped.
func Bounded(detail string) string {
	var out strings.Builder
	for _, r := range strings.ToValidUTF8(detail[:min(len(detail), MaxDetail)], "") {
		text := string(r)
		if !strconv.IsPrint(r) {
			text = strings.Trim(strconv.QuoteRune(r), "'")
		}
		if out.Len()+len(text) > MaxDetail {
			break
		}
		out.WriteString(text)
	}
	return out.String()
}

// flush records what was found. What could not be recorded is tried once more
// at the end; the next run finds it again.
func (r *run) flush(ctx context.Context) error {
	if r.pending.none() {
		return nil
	}
	if err := r.record(ctx, r.pending); err != nil {
		return err
	}
	r.pending = Found{}
	return nil
}

// flushUnread records what could not be read.
func (r *run) flushUnread(ctx context.Context, end bool) error {
	for !r.unread.none() {
		n := min(len(r.unread.Unreadable), MaxFailed)
		part := r.unread
		part.Unreadable = part.Unreadable[:n]
		part.End = end && n == len(r.unread.Unreadable)
		if err := r.record(ctx, part); err != nil {
			return err
		}
		r.unread.Unreadable = r.unread.Unreadable[n:]
	}
	return nil
}

func (r *run) record(ctx context.Context, found Found) error {
	found.Run = r.id
	if err := r.Ledger.Record(ctx, found); err != nil {
		return fmt.Errorf("record what was found: %w", err)
	}
	r.recorded = true
	return nil
}

// end records the last of what was found, and that it is the last.
func (r *run) end(ctx context.Context) error {
	switch {
	case !r.unread.none():
		return errors.Join(r.flush(ctx), r.flushUnread(ctx, true))
	case !r.pending.none():
		r.pending.End = true
		return r.flush(ctx)
	case r.recorded:
		// All findings are recorded. If this is not, the registry ends the run by itself.
		_ = r.Ledger.Record(ctx, Found{Run: r.id, End: true})
	}
	return nil
}
