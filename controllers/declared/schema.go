package declared

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"

	"github.com/coulomb/artifact-store/config/crd"
)

// schema is a kind's, as an API server has it: what is admitted there is
// admitted from a file, and what is refused there is refused for the same reason.
type schema struct {
	structural *structuralschema.Structural
	validator  validation.SchemaValidator
	rules      *cel.Validator
}

// schemas are those of the kinds that files declare. Compiling their rules
// takes time, and a manager in a cluster needs none.
var schemas = sync.OnceValue(func() map[string]*schema {
	all := map[string]*schema{}
	for _, manifest := range [][]byte{crd.StorageBackends, crd.RoutingPolicies} {
		kind, s, err := readSchema(manifest)
		if err != nil {
			panic(fmt.Sprintf("the CustomResourceDefinition %s in this program is invalid: %s", kind, err))
		}
		all[kind] = s
	}
	return all
})

// readSchema reads the schema of the only version of a CustomResourceDefinition.
func readSchema(manifest []byte) (kind string, s *schema, err error) {
	var definition apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(manifest, &definition); err != nil {
		return "", nil, err
	}
	kind = definition.Spec.Names.Kind
	if len(definition.Spec.Versions) != 1 {
		return kind, nil, fmt.Errorf("it has %d versions, not one", len(definition.Spec.Versions))
	}
	var props apiextensions.JSONSchemaProps
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(definition.Spec.Versions[0].Schema.OpenAPIV3Schema, &props, nil); err != nil {
		return kind, nil, err
	}
	s = &schema{}
	if s.structural, err = structuralschema.NewStructural(&props); err != nil {
		return kind, nil, err
	}
	if s.validator, _, err = validation.NewSchemaValidator(&props); err != nil {
		return kind, nil, err
	}
	s.rules = cel.NewValidator(s.structural, true, celconfig.PerCallLimit)
	return kind, s, nil
}

// admit sets the defaults of an object and judges it, in the steps of an API
// server. old is the object as it was admitted before, nil for none: rules about
// changes (oldSelf) compare with it.
func (s *schema) admit(object, old map[string]any) field.ErrorList {
	var errs field.ErrorList // unknown fields do not hide what else is wrong
	for _, path := range pruning.PruneWithOptions(object, s.structural, true, structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}) {
		errs = append(errs, field.Forbidden(fieldPath(path), "unknown field"))
	}
	defaulting.PruneNonNullableNullsWithoutDefaults(object, s.structural)
	defaulting.Default(object, s.structural)
	errs = append(errs, validation.ValidateCustomResource(nil, object, s.validator)...)
	errs = append(errs, listtype.ValidateListSetsAndMaps(nil, s.structural, object)...)
	if slices.ContainsFunc(errs, hidesRules) {
		return errs
	}
	var before any // a nil map would be an object
	if old != nil {
		before = old
	}
	broken, _ := s.rules.Validate(context.Background(), nil, s.structural, object, before, celconfig.RuntimeCELCostBudget)
	return append(errs, broken...)
}

// hidesRules reports whether an object with the error is not judged by rules:
// they could not be evaluated, or would cost too much.
func hidesRules(err *field.Error) bool {
	return slices.Contains([]field.ErrorType{field.ErrorTypeNotSupported, field.ErrorTypeRequired, field.ErrorTypeTooLong, field.ErrorTypeTooMany, field.ErrorTypeTypeInvalid}, err.Type)
}

// fieldPath is a path that is written already.
func fieldPath(path string) *field.Path { return field.NewPath(path) }

// Invalid is what a schema says against an object.
type Invalid struct{ Errors field.ErrorList }

// Error lists all that is wrong, each as field, value and reason.
func (e *Invalid) Error() string {
	all := make([]string, 0, len(e.Errors))
	for _, err := range e.Errors {
		if text := inWords(err); !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return strings.Join(all, "; ")
}
