package status

import (
	"fmt"
	"slices"
	"strings"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/pkg/routing"
)

// conflict is what rules that come first leave of one rule.
type conflict struct {
	// covered names the first of them that takes all that the rule matches; "" for none.
	covered string
	// overlaps names the first maxOverlaps rules of older policies that take some of it.
	overlaps []string
	more     bool
}

// maxOverlaps bounds a message: a rule for everything overlaps with all.
const maxOverlaps = 3

func (c conflict) String() string {
	text := strings.Join(c.overlaps, ", ")
	if c.more {
		text += " and others"
	}
	return text
}

// ConflictsOf compares each rule with those before it, by the name of its
// policy. It depends on the policies alone, and not on what backends do.
func ConflictsOf(policies []v1alpha1.RoutingPolicy) map[string][]conflict {
	all := make(map[string][]conflict, len(policies))
	var before []routing.Rule
	for _, p := range byAge(policies) {
		for _, rule := range policyRules(&p) {
			all[p.Name] = append(all[p.Name], conflictOf(rule, before))
			before = append(before, rule)
		}
	}
	return all
}

func conflictOf(rule routing.Rule, before []routing.Rule) (found conflict) {
	for _, earlier := range before {
		if earlier.Covers(rule) {
			return conflict{covered: ruleName(earlier, rule.Policy)}
		}
		if found.more || earlier.Policy == rule.Policy || !earlier.Overlaps(rule) {
			continue
		}
		if found.more = len(found.overlaps) == maxOverlaps; !found.more {
			found.overlaps = append(found.overlaps, ruleName(earlier, rule.Policy))
		}
	}
	return found
}

func ruleName(rule routing.Rule, own string) string {
	if rule.Policy == own {
		return fmt.Sprintf("rules[%d]", rule.Index)
	}
	return fmt.Sprintf("rules[%d] of the older policy %q", rule.Index, rule.Policy)
}

// ConflictCache keeps what ConflictsOf found of the policies that it was asked
// about last: backends turn much more often than policies change. Not for
// concurrent use.
type ConflictCache struct {
	versions []string
	found    map[string][]conflict
}

func (c *ConflictCache) Of(policies []v1alpha1.RoutingPolicy) map[string][]conflict {
	versions := make([]string, len(policies))
	for i := range policies {
		p := &policies[i]
		versions[i] = fmt.Sprintf("%s %s %d", p.Name, p.UID, p.Generation)
	}
	slices.Sort(versions)
	if c.found == nil || !slices.Equal(versions, c.versions) {
		c.versions, c.found = versions, ConflictsOf(policies)
	}
	return c.found
}
