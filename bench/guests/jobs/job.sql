-- SPDX-License-Identifier: MIT
CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT, grp INTEGER, price REAL);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
INSERT INTO item SELECT i, 'item ' || (i * 7919 % 60000), i % 97, (i * 31 % 1000) / 10.0 FROM n;
CREATE INDEX by_name ON item(name);
SELECT grp, count(*), sum(price) FROM item GROUP BY grp ORDER BY 3 DESC LIMIT 3;
SELECT count(*) FROM item a JOIN item b ON a.name = 'item ' || b.id WHERE b.grp < 20;
UPDATE item SET price = price * 1.1 WHERE name LIKE 'item 1%';
DELETE FROM item WHERE grp % 3 = 0;
SELECT count(*), avg(price) FROM item;
