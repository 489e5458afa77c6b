// Package plans has the database say how it runs each statement that a package's tests make
// the product run, and fails if it reads all of a table that grows.
package plans

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/coulomb/artifact-store/pkg/database"
)

// grows are the tables with as many rows as there are packages, files, objects or uploads.
// The others have one row for each backend, or for each thing that somebody did by hand.
var grows = []string{"events", "packages", "package_files", "blobs", "storage_locations", "uploads", "upload_files", "upload_blobs", "upload_parts",
	"sweeping", "doubts", "verification_runs"}

// readsAll are the statements that may read all of a table: the beginning of each, and why.
var readsAll = map[string]string{
	"SELECT position, producer, name, version, manifest_sha256, manifest_size, retention_class, tier, media_type, annotations, files, bytes, published_us, actor, backend_id FROM packages ORDER BY": "check compares every row",
	"SELECT package, number, path, sha256":                                "check compares every row",
	"SELECT sha256, blake3, size FROM blobs":                              "check compares every row",
	"SELECT backend_id, sha256, state":                                    "check compares every row",
	"SELECT COUNT(*) FROM ":                                               "rebuild reports how many rows it made",
	"SELECT COUNT(*) FROM events WHERE position > $1 OR position < 1":     "check looks for records behind the head",
	"SELECT 1 FROM doubts LIMIT 1":                                        "it takes the first row",
	"WITH bad AS (SELECT l.backend_id":                                    "damage of all packages; it is rare, and so is the question",
	"DELETE FROM doubts WHERE NOT EXISTS":                                 "once in a janitor's round; doubts are few",
	"SELECT backend_id, id FROM verification_runs WHERE reported_us < $1": "once in a janitor's round; a backend has a run or two",
}

// finding is a statement that reads all of a table.
type finding struct {
	engine database.Engine
	text   string
	plan   string
	times  int
}

type watch struct {
	mu sync.Mutex
	// settled statements were seen to read no more than they should, or may read all.
	settled  map[string]bool
	findings map[string]*finding
	failed   []string
	// explained statements, of both engines
	explained int
}

// attempts to see a statement run well: in a table of a few rows, another plan can be best.
const attempts = 50

// fewest statements that the whole of a package's tests explains: with less, it sees nothing any more.
const fewest = 60

// Main runs the tests of a package and explains what they ran.
func Main(m *testing.M) {
	w := &watch{settled: map[string]bool{}, findings: map[string]*finding{}}
	database.Trace(w.see)
	code := m.Run()
	database.Trace(nil)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.findings {
		fmt.Printf("--- FAIL: %s reads all of a table that grows:\n    %s\n%s\n", f.engine, f.text, f.plan)
		code = max(code, 1)
	}
	for _, failed := range w.failed {
		fmt.Printf("--- FAIL: %s\n", failed)
		code = max(code, 1)
	}
	if run := flag.Lookup("test.run"); w.explained < fewest && (run == nil || run.Value.String() == "") {
		fmt.Printf("--- FAIL: only %d statements were explained\n", w.explained)
		code = max(code, 1)
	}
	if testing.Verbose() {
		fmt.Printf("%d statements were explained\n", w.explained)
	}
	os.Exit(code)
}

var (
	generation = regexp.MustCompile(`_g\d+\b`)
	parameters = regexp.MustCompile(`(\$\d+, )+\$\d+`)
	digests    = regexp.MustCompile(`\bsha256 (IN \(\$|= [a-z$])`)
	spaces     = regexp.MustCompile(`\s+`)
	tableAs    = regexp.MustCompile(`(?i)\b(?:FROM|JOIN|UPDATE|INTO|,)\s+([a-z_]+)(?:_g\d+)?(?:\s+AS)?(?:\s+([a-z]+)\b)?`)
)

// see explains a statement of the product, in its transaction, until it was seen to run well.
func (w *watch) see(ctx context.Context, engine database.Engine, tx database.Tx, text string, args []any) {
	verb, _, _ := strings.Cut(strings.TrimSpace(text), " ")
	if !slices.Contains([]string{"SELECT", "INSERT", "UPDATE", "DELETE", "WITH"}, verb) || strings.HasPrefix(text, "INSERT INTO") && !strings.Contains(text, "SELECT") {
		return
	}
	short := spaces.ReplaceAllString(parameters.ReplaceAllString(generation.ReplaceAllString(text, ""), "$…"), " ")
	key := string(engine) + short
	w.mu.Lock()
	settled := w.settled[key] || w.findings[key] != nil && w.findings[key].times >= attempts
	w.mu.Unlock()
	if settled || fromTest() {
		return
	}
	for begins := range readsAll {
		if strings.HasPrefix(short, begins) {
			w.mu.Lock()
			w.settled[key] = true
			w.mu.Unlock()
			return
		}
	}
	explain := explainSQLite
	if engine == database.PostgreSQL {
		explain = explainPostgres
	}
	plan, bad, err := explain(context.WithoutCancel(ctx), tx, text, args)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.explained++
	switch {
	case err != nil:
		w.settled[key], w.failed = true, append(w.failed, fmt.Sprintf("%s cannot explain %s: %v", engine, short, err))
	case !bad:
		w.settled[key] = true
		delete(w.findings, key)
	case !w.settled[key]:
		if w.findings[key] == nil {
			w.findings[key] = &finding{engine: engine, text: short}
		}
		w.findings[key].plan = plan
		w.findings[key].times++
	}
}

// fromTest: a test asks the database itself.
func fromTest() bool {
	callers := make([]uintptr, 32)
	frames := runtime.CallersFrames(callers[:runtime.Callers(3, callers)])
	for {
		frame, more := frames.Next()
		if !strings.Contains(frame.File, "pkg/database/") && !strings.Contains(frame.Function, "plans.") {
			return strings.HasSuffix(frame.File, "_test.go") || strings.Contains(frame.File, "/registrytest/")
		}
		if !more {
			return true
		}
	}
}

// tablesIn maps the aliases of a statement to tables.
func tablesIn(text string) map[string]string {
	all := map[string]string{}
	for _, match := range tableAs.FindAllStringSubmatch(text, -1) {
		all[match[1]] = match[1]
		if match[2] != "" {
			all[match[2]] = match[1]
		}
	}
	return all
}

func explainSQLite(ctx context.Context, tx database.Tx, text string, args []any) (plan string, bad bool, err error) {
	rows, err := tx.QueryContext(ctx, "EXPLAIN QUERY PLAN "+text, args...)
	if err != nil {
		return "", false, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	tables := tablesIn(text)
	var lines []string
	paged := false
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			return "", false, err
		}
		lines = append(lines, "        "+detail)
		// Who names digests reads their rows, not those of a whole backend.
		bad = bad || digests.MatchString(text) && strings.HasSuffix(detail, "(backend_id=? AND state=?)")
		name, scans := strings.CutPrefix(detail, "SCAN ")
		if !scans {
			continue
		}
		name, how, _ := strings.Cut(name, " ")
		name = generation.ReplaceAllString(name, "")
		if !slices.Contains(grows, tables[name]) {
			continue
		}
		// In the order of an index it ends at the limit, unless all is sorted first.
		if paged = strings.Contains(how, "USING") && strings.Contains(text, " LIMIT "); !paged {
			bad = true
		}
	}
	plan = strings.Join(lines, "\n")
	bad = bad || paged && strings.Contains(plan, "TEMP B-TREE FOR ORDER BY")
	return plan, bad, rows.Err()
}

// node is one of a plan of PostgreSQL.
type node struct {
	Type     string `json:"Node Type"`
	Relation string `json:"Relation Name"`
	Index    string `json:"Index Name"`
	Cond     string `json:"Index Cond"`
	Recheck  string `json:"Recheck Cond"`
	Plans    []node `json:"Plans"`
}

// scans reports whether it reads all of a table that grows. Below a Limit, and nothing that
// takes all its rows first, it ends there.
func (n node) scans(limited bool) bool {
	switch n.Type {
	case "Limit":
		limited = true
	case "Sort", "Aggregate", "Hash", "HashAggregate", "Materialize":
		limited = false
	}
	if slices.Contains(grows, generation.ReplaceAllString(n.Relation, "")) {
		switch n.Type {
		case "Seq Scan":
			return true
		case "Index Scan", "Index Only Scan":
			if n.Cond == "" && !limited {
				return true
			}
		}
	}
	return slices.ContainsFunc(n.Plans, func(child node) bool { return child.scans(limited) })
}

func explainPostgres(ctx context.Context, tx database.Tx, text string, args []any) (plan string, bad bool, err error) {
	// A table of a test is so small that reading it all is best: what is asked is whether
	// there is another way.
	if _, err := tx.ExecContext(ctx, "SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off"); err != nil {
		return "", false, err
	}
	err = tx.QueryRowContext(ctx, "EXPLAIN (FORMAT JSON) "+text, args...).Scan(&plan)
	if err != nil {
		return "", false, err
	}
	if _, err := tx.ExecContext(ctx, "SET LOCAL enable_seqscan = on; SET LOCAL enable_hashjoin = on; SET LOCAL enable_mergejoin = on"); err != nil {
		return "", false, err
	}
	var all []struct{ Plan node }
	if err := json.Unmarshal([]byte(plan), &all); err != nil || len(all) != 1 {
		return "", false, fmt.Errorf("%d plans: %w", len(all), err)
	}
	return plan, all[0].Plan.scans(false), nil
}
