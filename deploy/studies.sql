-- Optuna and MLflow both have a table alembic_version, so studies get their own database
create database studies;
