// Package routing decides which backend takes a package. A Table holds an atomic
// snapshot of the declared backends and rules and decides by it. The package knows
// neither Kubernetes nor any driver.
package routing

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/coulomb/artifact-store/pkg/registry/placement"
)

// Table answers from the most recent Snapshot. Its zero value is empty and not
// loaded. All methods may be called concurrently and none blocks.
type Table struct {
	current atomic.Pointer[compiled]
}

var _ placement.Placer = (*Table)(nil)

// New returns an empty table that is not loaded.
func New() *Table { return &Table{} }

// Snapshot is the declared state at one moment.
type Snapshot struct {
	// Backends holds each name once.
	Backends []placement.Backend
	// Rules are in order of precedence: the first match takes the request.
	// An empty list means the implicit rule: a single backend takes everything.
	Rules []Rule
}

// Rule sends the requests that it matches to the first of its backends that is ready.
type Rule struct {
	// Policy and Index name the rule in explanations.
	Policy string
	Index  int
	// Producers are globs; an empty list matches every producer.
	Producers []string
	// RetentionClasses are compared literally; an empty list matches every class.
	RetentionClasses []string
	// Backends by name, in order of preference.
	Backends []string
}

// Swap replaces the whole table at once; until then requests use the old one. It
// copies what the table keeps of the snapshot, which must not share changing data.
// If the rules equal those of the previous snapshot, the cost is that of the
// backends alone.
func (t *Table) Swap(s Snapshot) { t.current.Store(compile(s, t.current.Load())) }

// Loaded reports whether Swap was ever called.
func (t *Table) Loaded() bool { return t.current.Load() != nil }

// Place chooses the backend for a new package in memory, without allocating
// unless it fails. It returns a *placement.NoRuleError or a *placement.NotReadyError.
func (t *Table) Place(req placement.Request) (placement.Backend, error) {
	c := t.current.Load()
	if c == nil {
		return placement.Backend{}, &placement.NotReadyError{Explanation: t.Explain(req)}
	}
	rule := c.match(req)
	if rule == nil {
		return placement.Backend{}, &placement.NoRuleError{Explanation: t.Explain(req)}
	}
	for _, name := range rule.Backends {
		if b := c.named(name); b != nil && takes(b) {
			return *b, nil
		}
	}
	return placement.Backend{}, &placement.NotReadyError{Explanation: c.explain(rule, req)}
}

// Explain says what Place would do with the same snapshot, and why.
func (t *Table) Explain(req placement.Request) placement.Explanation {
	c := t.current.Load()
	if c == nil {
		return placement.Explanation{Request: req, Considered: []placement.Considered{}, Reason: "no routing table has been loaded yet"}
	}
	if rule := c.match(req); rule != nil {
		return c.explain(rule, req)
	}
	return placement.Explanation{Request: req, Considered: []placement.Considered{}, Reason: c.unmatched(req)}
}

// Open returns the backend whose marker holds id, ready or not, or
// placement.ErrUnknownBackend if none is declared.
func (t *Table) Open(id string) (placement.Backend, error) {
	if c := t.current.Load(); c != nil && id != "" {
		if at, ok := c.byID[id]; ok {
			return c.backends[at], nil
		}
	}
	return placement.Backend{}, fmt.Errorf("%w: %q", placement.ErrUnknownBackend, id)
}

// Backends lists every declared backend by name. The caller owns the slice.
func (t *Table) Backends() []placement.Backend {
	c := t.current.Load()
	if c == nil {
		return nil
	}
	return slices.Clone(c.backends)
}

// compiled is a Snapshot prepared for concurrent reads; it is immutable.
type compiled struct {
	backends []placement.Backend // by name
	byName   map[string]int32    // index into backends
	byID     map[string]int32
	*ruleset
}

// ruleset holds the rules of a Snapshot; it stays the same while only backends change.
type ruleset struct {
	rules []Rule
	index *index
}

func takes(b *placement.Backend) bool { return b.Ready && !b.ReadOnly && b.Store != nil }

// compile reuses the rules of before where they are equal; before may be nil.
func compile(s Snapshot, before *compiled) *compiled {
	c := &compiled{
		backends: slices.Clone(s.Backends),
		byName:   make(map[string]int32, len(s.Backends)), byID: make(map[string]int32, len(s.Backends)),
	}
	slices.SortFunc(c.backends, func(a, b placement.Backend) int { return strings.Compare(a.Name, b.Name) })
	for i := range c.backends {
		b := &c.backends[i]
		c.byName[b.Name] = int32(i)
		// Two declarations of one place share its id: the one that can be read wins.
		if other, taken := c.byID[b.ID]; b.ID != "" && (!taken || c.backends[other].Store == nil) {
			c.byID[b.ID] = int32(i)
		}
	}
	rules := s.Rules
	if len(rules) == 0 && len(c.backends) == 1 {
		rules = []Rule{{Backends: []string{c.backends[0].Name}}}
	}
	if before != nil && slices.EqualFunc(rules, before.rules, Rule.equal) {
		c.ruleset = before.ruleset
		return c
	}
	c.ruleset = &ruleset{rules: make([]Rule, len(rules))}
	for i, r := range rules {
		r.Producers, r.RetentionClasses, r.Backends = slices.Clone(r.Producers), slices.Clone(r.RetentionClasses), slices.Clone(r.Backends)
		c.rules[i] = r
	}
	c.index = newIndex(c.rules)
	return c
}

func (r Rule) equal(other Rule) bool {
	return r.Policy == other.Policy && r.Index == other.Index && slices.Equal(r.Backends, other.Backends) &&
		slices.Equal(r.Producers, other.Producers) && slices.Equal(r.RetentionClasses, other.RetentionClasses)
}

// named returns a declared backend, or nil.
func (c *compiled) named(name string) *placement.Backend {
	if at, ok := c.byName[name]; ok {
		return &c.backends[at]
	}
	return nil
}

// match returns the first rule that matches, or nil.
func (c *compiled) match(req placement.Request) *Rule {
	if first := c.index.find(req.Producer, req.RetentionClass); first != none {
		return &c.rules[first]
	}
	return nil
}
