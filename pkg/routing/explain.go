package routing

import (
	"fmt"

	"github.com/coulomb/artifact-store/pkg/registry/placement"
)

// name describes the rule for use in a sentence.
func (r *Rule) name() string {
	if r.Policy == "" {
		return "the implicit rule (no policy, one backend)"
	}
	return fmt.Sprintf("rules[%d] of policy %q", r.Index, r.Policy)
}

// explain says where the rule sends a request, and why.
func (c *compiled) explain(r *Rule, req placement.Request) placement.Explanation {
	e := placement.Explanation{Request: req, Policy: r.Policy, Rule: r.Index, Considered: make([]placement.Considered, 0, len(r.Backends))}
	for _, name := range r.Backends {
		considered, b := placement.Considered{Backend: name}, c.named(name)
		switch {
		case b == nil || !takes(b):
			considered.Reason = passedOver(b)
		case e.Backend != "":
			considered.Reason = fmt.Sprintf("usable, but %q takes precedence", e.Backend)
		default:
			considered.Taken, considered.Reason = true, "the first ready backend of the rule"
			e.Backend, e.BackendID = b.Name, b.ID
		}
		e.Considered = append(e.Considered, considered)
	}
	switch {
	case e.Backend != "":
		e.Reason = fmt.Sprintf("%s selects %q", r.name(), e.Backend)
	case len(e.Considered) == 0:
		e.Reason = fmt.Sprintf("%s matches but names no backend", r.name())
	default:
		first := e.Considered[0]
		e.Reason = fmt.Sprintf("%s matches, but none of its %d backends is usable; %q: %s", r.name(), len(e.Considered), first.Backend, first.Reason)
	}
	return e
}

// passedOver says why a backend is unusable; nil stands for one that is not declared.
func passedOver(b *placement.Backend) string {
	switch {
	case b == nil:
		return "the backend is not declared"
	case b.ReadOnly:
		return "declared ReadOnly"
	case b.Reason != "" && b.Message != "":
		return "not ready: " + b.Reason + ": " + b.Message
	case b.Reason != "":
		return "not ready: " + b.Reason
	case b.Ready:
		return "not ready: this replica could not open it"
	default:
		return "not ready"
	}
}

// unmatched says why no rule matches a request.
func (c *compiled) unmatched(req placement.Request) string {
	switch {
	case len(c.rules) > 0:
		return fmt.Sprintf("none of the %d rules matches producer %q with retention class %q", len(c.rules), req.Producer, req.RetentionClass)
	case len(c.backends) == 0:
		return "no backend is declared"
	default:
		return fmt.Sprintf("%d backends are declared, but no policy selects one", len(c.backends))
	}
}
