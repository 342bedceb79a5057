"""Matrix forms, derived from equations in index notation by named rules."""

from symbackprop.matrix.convert import Form, MatrixForm, NoMatrixForm, to_matrix
from symbackprop.matrix.explain import ShapeNote, shape_notes
from symbackprop.matrix.frame import LAYOUTS, Layout
from symbackprop.matrix.passes import Row, matrix_forms, record_forms

__all__ = [
    "LAYOUTS",
    "Form",
    "Layout",
    "MatrixForm",
    "NoMatrixForm",
    "Row",
    "ShapeNote",
    "matrix_forms",
    "record_forms",
    "shape_notes",
    "to_matrix",
]
