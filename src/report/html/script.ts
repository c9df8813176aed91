/**
 * The page's own script: search, filter and pages of the records. Text goes into the page as text only. It is the one
 * script that the page's policy allows, by its hash.
 */
export const SCRIPT = `
'use strict'
const SIZE = 100
const records = JSON.parse(document.getElementById('record-data').textContent)
const texts = records.map((record) => record.join(' ').toLowerCase())
const find = document.getElementById('find')
const only = document.getElementById('only')
const body = document.querySelector('#record-table tbody')
let matches = []
let page = 0

function search() {
  const wanted = find.value.trim().toLowerCase()
  matches = []
  records.forEach((record, index) => {
    if (only.value !== '' && record[0] !== only.value) return
    if (wanted === '' || texts[index].includes(wanted)) matches.push(record)
  })
  page = 0
  show()
}

function show() {
  const pages = Math.max(1, Math.ceil(matches.length / SIZE))
  body.replaceChildren(...matches.slice(page * SIZE, (page + 1) * SIZE).map(rowOf))
  document.getElementById('found').textContent = matches.length + ' of ' + records.length
  document.getElementById('page').textContent = 'page ' + (page + 1) + ' of ' + pages
  document.getElementById('previous').disabled = page === 0
  document.getElementById('next').disabled = page >= pages - 1
}

function rowOf(record) {
  const row = document.createElement('tr')
  record.forEach((text, column) => {
    const cell = document.createElement('td')
    cell.textContent = text
    cell.className = column === 0 ? text : column < 6 ? 'id' : ''
    row.append(cell)
  })
  return row
}

find.addEventListener('input', search)
only.addEventListener('change', search)
document.getElementById('filter').addEventListener('submit', (event) => event.preventDefault())
document.getElementById('previous').addEventListener('click', () => { page--; show() })
document.getElementById('next').addEventListener('click', () => { page++; show() })
search()
`
