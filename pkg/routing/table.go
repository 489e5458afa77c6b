// Package routing decides which backend takes a package. Table holds an atomic
// snapshot of the declared backends and rules and answers from it; it knows
// neither Kubernetes nor any driver.
package routing

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/coulomb/artifact-store/pkg/registry/placement"
)

// Table answers from the last Snapshot that was swapped in. Its zero value
// is empty and not loaded. All methods may be called concurrently and none blocks.
type Table struct {
	current atomic.Pointer[compiled]
}

var _ placement.Placer = (*Table)(nil)

// New returns an empty table that is not loaded.
func New() *Table { return &Table{} }

// Snapshot is the declared state at one moment.
type Snapshot struct {
	// Backends, each name once.
	Backends []placement.Backend
	// Rules in order of precedence: the first that matches takes the request.
	// None at all means the implicit rule: a single backend takes everything.
	Rules []Rule
}

// Rule sends the requests that it matches to the first ready one of its backends.
type Rule struct {
	// Policy and Index name the rule in explanations.
	Policy string
	Index  int
	// Producers are globs; none matches every producer.
	Producers []string
	// RetentionClasses are compared as they are; none matches every class.
	RetentionClasses []string
	// Backends by name, in order of preference.
	Backends []string
}

// Swap replaces the whole table at once. The snapshot is copied as far as the table keeps it.
func (t *Table) Swap(s Snapshot) { t.current.Store(compile(s)) }

// Loaded reports whether a snapshot was ever swapped in.
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
	for _, b := range rule.backends {
		if b.known && b.takes() {
			return b.Backend, nil
		}
	}
	return placement.Backend{}, &placement.NotReadyError{Explanation: rule.explain(req)}
}

// Explain says what Place would do with the same snapshot, and why.
func (t *Table) Explain(req placement.Request) placement.Explanation {
	c := t.current.Load()
	if c == nil {
		return placement.Explanation{Request: req, Considered: []placement.Considered{}, Reason: "no routing table has been loaded yet"}
	}
	if rule := c.match(req); rule != nil {
		return rule.explain(req)
	}
	return placement.Explanation{Request: req, Considered: []placement.Considered{}, Reason: c.unmatched(req)}
}

// Open returns the backend whose marker holds id, ready or not.
// placement.ErrUnknownBackend if none is declared.
func (t *Table) Open(id string) (placement.Backend, error) {
	if c := t.current.Load(); c != nil && id != "" {
		if b, ok := c.byID[id]; ok {
			return b, nil
		}
	}
	return placement.Backend{}, fmt.Errorf("%w: %q", placement.ErrUnknownBackend, id)
}

// Backends lists every declared backend by name. The slice is the caller's.
func (t *Table) Backends() []placement.Backend {
	c := t.current.Load()
	if c == nil {
		return nil
	}
	return slices.Clone(c.backends)
}

// compiled is a Snapshot made ready to be read by many; it is never changed.
type compiled struct {
	backends []placement.Backend // by name
	byID     map[string]placement.Backend
	rules    []compiledRule
}

type compiledRule struct {
	policy    string
	index     int
	producers matcher
	classes   matcher
	backends  []candidate
}

// candidate is one backend of a rule; unknown ones keep their name for Explain.
type candidate struct {
	placement.Backend
	known bool
}

func (c candidate) takes() bool { return c.Ready && !c.ReadOnly && c.Store != nil }

func compile(s Snapshot) *compiled {
	c := &compiled{backends: slices.Clone(s.Backends), byID: map[string]placement.Backend{}}
	slices.SortFunc(c.backends, func(a, b placement.Backend) int { return strings.Compare(a.Name, b.Name) })
	byName := map[string]candidate{}
	for _, b := range c.backends {
		byName[b.Name] = candidate{b, true}
		// Two declarations of one place share its id: the one that can be read serves it.
		if other, taken := c.byID[b.ID]; b.ID != "" && (!taken || other.Store == nil) {
			c.byID[b.ID] = b
		}
	}
	for _, r := range s.Rules {
		rule := compiledRule{policy: r.Policy, index: r.Index, producers: newMatcher(r.Producers, true), classes: newMatcher(r.RetentionClasses, false)}
		for _, name := range r.Backends {
			b, known := byName[name]
			if !known {
				b.Name = name
			}
			rule.backends = append(rule.backends, b)
		}
		c.rules = append(c.rules, rule)
	}
	if len(c.rules) == 0 && len(c.backends) == 1 {
		c.rules = []compiledRule{{producers: matcher{all: true}, classes: matcher{all: true}, backends: []candidate{{c.backends[0], true}}}}
	}
	return c
}

func (c *compiled) match(req placement.Request) *compiledRule {
	for i := range c.rules {
		if r := &c.rules[i]; r.producers.matches(req.Producer) && r.classes.matches(req.RetentionClass) {
			return r
		}
	}
	return nil
}
