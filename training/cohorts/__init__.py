"""Public cohorts as `patient-histories/1`: one module per cohort, one that makes patients of dated volumes."""
