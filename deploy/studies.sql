-- Optuna and MLflow both keep a table alembic_version, so studies have a database of their own
create database studies;
