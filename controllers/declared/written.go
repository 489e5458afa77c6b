package declared

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
)

// durations are the fields that hold one.
var durations = []string{"spec.probe.interval", "spec.probe.timeout", "spec.s3.requestTimeout", "spec.verification.rollingPeriod", "spec.verification.deadline"}

// durationForm and maxDuration are what the schema asks of one: hours and
// minutes, then seconds or milliseconds, none so large that it has no number.
var durationForm = regexp.MustCompile(`^([0-9]{1,5}([.][0-9]+)?[hm]|[0-9]{1,9}([.][0-9]+)?m?s){1,3}$`)

const maxDuration = 32 // characters

// isQuantity reports whether a field holds a quantity.
func isQuantity(field string) bool {
	return field == "spec.verification.bandwidth" || strings.HasPrefix(field, "spec.verification.resources.")
}

// checkWritten checks of a document what is lost once it is decoded: that no
// field of its spec is empty or 0, which would count as left out where the
// schema refuses it, and that a duration or a quantity is one.
func checkWritten(document any) error {
	object, _ := document.(map[string]any)
	return checkValue("spec", object["spec"])
}

func checkValue(field string, value any) error {
	switch value := value.(type) {
	case string:
		if value == "" {
			return fmt.Errorf("%s: must not be empty; leave it out for what it is by default", field)
		}
		if slices.Contains(durations, field) && (len(value) > maxDuration || !durationForm.MatchString(value)) {
			return fmt.Errorf("%s: %.40q must be a duration, as 30s or 5m", field, value)
		}
		if _, err := resource.ParseQuantity(value); err != nil && isQuantity(field) {
			return fmt.Errorf("%s: %.40q must be a quantity, as 500m or 64Mi", field, value)
		}
	case float64:
		if value == 0 {
			return fmt.Errorf("%s: must not be 0; leave it out for what it is by default", field)
		}
	case []any:
		for i, item := range value {
			if err := checkValue(fmt.Sprintf("%s[%d]", field, i), item); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(value)) {
			if err := checkValue(field+"."+name, value[name]); err != nil {
				return err
			}
		}
	}
	return nil
}
