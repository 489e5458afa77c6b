package view

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/glob"
)

// Filter narrows ListPackages; empty fields match all. After, if set, is the last row of
// the page before.
type Filter struct {
	Producer, Name, RetentionClass string
	NameGlob, Tier, Actor          string
	Annotations                    map[string]string
	Since, Until                   time.Time
	At                             uint64     // position of the log, 0 for none
	After                          *[3]string // producer, name, version
	// A page has at most Limit rows and Bytes of texts, but at least one row if there is any.
	Limit, Bytes int
	// Scan is how many rows are looked at.
	Scan int
}

// Page is some of the packages.
type Page struct {
	Packages []Package
	Next     *[3]string // the last row that was looked at, nil at the end
	Scanned  int        // rows that were looked at, about
}

// arguments of a statement.
type arguments []any

func (a *arguments) add(v any) string {
	*a = append(*a, v)
	return fmt.Sprintf("$%d", len(*a))
}

// equal is a condition on a column, none for "".
func (a *arguments) equal(column, value string) string {
	if value == "" {
		return ""
	}
	return ` AND ` + column + ` = ` + a.add(value)
}

// ListPackages returns a page in the database's text order of producer, name, version.
func ListPackages(ctx context.Context, tx database.Tx, f Filter) (page Page, err error) {
	if f.Scans() {
		// An index finds what the other fields name. Of that, a bounded part is looked at.
		var args arguments
		end := [3]string{}
		err := tx.QueryRowContext(ctx, `SELECT producer, name, version FROM packages WHERE 1 = 1`+f.indexed(&args)+
			` ORDER BY producer, name, version LIMIT 1 OFFSET `+args.add(f.Scan-1), args...).Scan(&end[0], &end[1], &end[2])
		switch {
		case err == nil:
			page.Next, page.Scanned = &end, f.Scan
		case !errors.Is(found(err), ErrNotFound):
			return page, err
		}
	}
	var args arguments
	query := `SELECT ` + packageColumns + ` FROM packages WHERE 1 = 1` + f.indexed(&args)
	if page.Next != nil {
		query += ` AND (producer, name, version) <= (` + args.add(page.Next[0]) + `, ` + args.add(page.Next[1]) + `, ` + args.add(page.Next[2]) + `)`
	}
	query += f.residue(&args)
	rows, err := tx.QueryContext(ctx, query+` ORDER BY producer, name, version LIMIT `+args.add(f.Limit+1), args...)
	if err != nil {
		return page, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	var last *[3]string
	for size, n := 0, 0; rows.Next(); n++ {
		p, err := scanPackage(rows)
		if err != nil {
			return page, err
		}
		if size += p.size(); n == f.Limit || n > 0 && size > f.Bytes {
			page.Next = last
			return page, nil
		}
		last = &[3]string{p.Producer, p.Name, p.Version}
		if f.matches(&p) {
			page.Packages = append(page.Packages, p)
		}
		page.Scanned = max(page.Scanned, n+1)
	}
	return page, rows.Err()
}

// Scans reports whether something is asked for that no index finds.
func (f *Filter) Scans() bool {
	return f.NameGlob != "" || f.Tier != "" || f.Actor != "" || len(f.Annotations) > 0 || f.At > 0 || !f.Since.IsZero() || !f.Until.IsZero()
}

// indexed is the condition that an index serves.
func (f *Filter) indexed(args *arguments) string {
	where := args.equal("producer", f.Producer) + args.equal("name", f.Name) + args.equal("retention_class", f.RetentionClass)
	if after := f.After; after != nil {
		where += ` AND (producer, name, version) > (` + args.add(after[0]) + `, ` + args.add(after[1]) + `, ` + args.add(after[2]) + `)`
	}
	return where
}

// residue is the rest of the condition, or more than it: matches decides.
func (f *Filter) residue(args *arguments) string {
	where := args.equal("tier", f.Tier) + args.equal("actor", f.Actor)
	if !f.Since.IsZero() {
		where += ` AND published_us >= ` + args.add(f.Since.UnixMicro())
	}
	if !f.Until.IsZero() {
		where += ` AND published_us < ` + args.add(f.Until.UnixMicro())
	}
	if f.At > 0 {
		where += ` AND position <= ` + args.add(int64(f.At)) //nolint:gosec // a position
	}
	if head := glob.Head(f.NameGlob); head != "" {
		where += ` AND name LIKE ` + args.add(likeEscape.Replace(head)+"%") + ` ESCAPE '\'`
	}
	for _, key := range slices.Sorted(maps.Keys(f.Annotations)) {
		// As they are in the column, which has a text for each set of them.
		pair, err := json.Marshal(map[string]string{key: f.Annotations[key]})
		if err == nil {
			where += ` AND annotations LIKE ` + args.add("%"+likeEscape.Replace(string(pair[1:len(pair)-1]))+"%") + ` ESCAPE '\'`
		}
	}
	return where
}

var likeEscape = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// matches decides what LIKE does not: it may ignore case.
func (f *Filter) matches(p *Package) bool {
	if f.NameGlob != "" && !glob.Match(f.NameGlob, p.Name) {
		return false
	}
	for key, value := range f.Annotations {
		if got, has := p.Annotations[key]; !has || got != value {
			return false
		}
	}
	return true
}
